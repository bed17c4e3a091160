"""Many robots on shared servers and links."""
