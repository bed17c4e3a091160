"""The command that simulates."""
