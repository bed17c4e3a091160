"""The command that compares accuracy and bytes of all ways to send a frame."""
