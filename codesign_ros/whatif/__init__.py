"""Plans for devices and links that need not be here: `codesign plan` and `export`."""
