"""A bag of two cameras, whose frames are JPEGs."""

import cv2
import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer

from codesign_ros.data.storage.decoding import COMPRESSED_TYPE, typestore
from support.tiny import tiny_frames

LEFT, RIGHT = "/left/compressed", "/right/compressed"
STEP_NS = 10**8


def write_two_cameras(path, frames, *, broken=()):
    """Write so many frames of each; those of the numbers ``broken`` are no pictures."""
    store = typestore()
    header, time = (store.types[n] for n in ("std_msgs/msg/Header", "builtin_interfaces/msg/Time"))
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connections = [
            writer.add_connection(topic, COMPRESSED_TYPE, typestore=store)
            for topic in (LEFT, RIGHT)
        ]
        for number, frame in enumerate(tiny_frames(frames, seed=7)):
            data = np.zeros(9, np.uint8) if number in broken else cv2.imencode(".jpg", frame)[1]
            stamp_ns = (number + 1) * STEP_NS
            stamp = time(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
            image = store.types[COMPRESSED_TYPE](header(stamp, "cam"), "jpeg", data.ravel())
            for connection in connections:
                writer.write(connection, stamp_ns, store.serialize_cdr(image, COMPRESSED_TYPE))
    return path
