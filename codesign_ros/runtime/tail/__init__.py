"""What the server's tail node does, without ROS."""
