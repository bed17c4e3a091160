"""How options are read: numbers, places to write to, mistyped words."""
