"""Running a source through the network, and what comes of it: metrics, tables, the demo."""
