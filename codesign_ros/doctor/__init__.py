"""Checks of this machine and of what it hears of the others, each with what to change."""
