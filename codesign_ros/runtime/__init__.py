"""What head, tail and planner do, without ROS: they are handed messages and hand messages on."""
