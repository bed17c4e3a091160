"""The command that plans for devices and links that need not be here, and its conditions."""
