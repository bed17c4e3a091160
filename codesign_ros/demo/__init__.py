"""The demo: a bag through the nodes as processes, and its report."""
