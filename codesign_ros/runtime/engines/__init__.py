"""Engines while frames flow: leases, sharing, builds in the background."""
