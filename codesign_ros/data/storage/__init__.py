"""What bags consist of: storage files (MCAP, SQLite, ROS 1), and the folders that hold them."""
