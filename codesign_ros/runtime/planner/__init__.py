"""What the planner node does, without ROS."""
