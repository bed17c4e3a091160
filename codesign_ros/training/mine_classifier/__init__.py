"""Training of the mine's classifier on generated scenes."""
