"""What comes from other nodes is looked at here before anything is made of it."""
