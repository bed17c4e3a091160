"""Policies compared on one recording: real answers, simulated devices, link and queues."""
