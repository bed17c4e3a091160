"""The ROS 2 nodes: parameters, topics and services around the runtime; the only room with rclpy."""
