"""Parts of the system tested with what was recorded of the others."""
