"""Head and tail trained in two processes."""
