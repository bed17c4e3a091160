"""What is going on in a running system: a model of what was heard, and how it is shown."""
