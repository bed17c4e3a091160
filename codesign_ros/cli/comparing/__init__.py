"""Commands that set policies beside each other."""
