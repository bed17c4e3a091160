"""What the robot's head node does, without ROS."""
