"""Images into the head: from which topic, in which form, and why none come."""
