"""Programs that run several nodes in one process."""
