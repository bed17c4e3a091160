"""Robots, links and servers in simulated time (SimPy), for what cannot be run here."""
