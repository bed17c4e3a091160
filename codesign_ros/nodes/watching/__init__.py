"""Nodes that take no part and only listen."""
