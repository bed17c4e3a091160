"""Measuring what the rate levels of necks lose."""
