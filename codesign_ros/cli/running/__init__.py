"""Commands that look at a running system, one module each."""
