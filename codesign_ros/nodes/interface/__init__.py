"""What the nodes say to ROS: parameters, quality of service, messages."""
