"""Frames and where they come from: the synthetic mine, bags, videos, cameras, folders.

Everything here is free of ROS at run time: bags are read and written with ``rosbags``, pictures are
decoded with OpenCV. A frame always carries its stamp and, where known, its ground truth.
"""
