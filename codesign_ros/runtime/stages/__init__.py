"""The two halves of the work on one frame under one plan, for nodes and evaluation."""
