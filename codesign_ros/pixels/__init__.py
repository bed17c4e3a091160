"""Pixels in and out: decoding, letterbox, boxes, drawing."""
