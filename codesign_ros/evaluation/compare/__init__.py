"""Policies compared on one recording: the network computes, devices' times and link are simulated."""
