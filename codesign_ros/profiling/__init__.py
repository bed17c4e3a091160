"""How long the halves of a network take on this machine."""
