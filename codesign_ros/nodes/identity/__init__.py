"""Which of several nodes in a place for one serves, and which planner a node heeds."""
