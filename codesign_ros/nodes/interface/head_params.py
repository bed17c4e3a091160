"""The parameters of the head, beside those that all devices have."""

from codesign_ros.nodes.images.input import AUTO
from codesign_ros.nodes.interface.params import Param
from codesign_ros.pixels.boxes import DISPLAY_THRESHOLD
from codesign_ros.runtime.head.settings import HeadSettings

PARAMS = (
    Param(
        "image_transport",
        "compressed",
        "topic to take frames from: image_raw/compressed or image_raw; auto = the first of them "
        "that somebody publishes, or the other where none come or they cannot be read. Remapping "
        "image_raw moves both",
        choices=("compressed", "raw", AUTO),
        fixed=True,
    ),
    Param(
        "image_reliability",
        "best_effort",
        "best_effort for cameras; reliable where every frame of a recording must arrive; auto = "
        "reliable where the camera is, without which images of megabytes hardly arrive",
        choices=("best_effort", "reliable", AUTO),
        fixed=True,
    ),
    Param("queue_depth", 3, "frames that may wait; one more drops the oldest", low=1, high=1000),
    Param(
        "queue_bytes",
        HeadSettings.queue_bytes,
        "memory that waiting frames may take [bytes]; beyond, the oldest is dropped, never the "
        "newest",
        low=1,
        high=1 << 40,
    ),
    Param(
        "deadline_s",
        1.0,
        "finish a frame on the robot when its answer is not there so long after its stamp, on top "
        "of twice its time on the link [s]; how long answers usually take sets a shorter time by "
        "itself. A stamp from the future, or older than 10 s, is not believed: its arrival counts",
        low=0.01,
        high=60.0,
    ),
    Param(
        "display_threshold",
        DISPLAY_THRESHOLD,
        "detectors: boxes in detections and overlay have at least this score; result has all",
        low=0.0,
        high=1.0,
    ),
    Param(
        "emulation.link_bps",
        0.0,
        "emulated: embeddings leave at this rate [bit/s]; 0 = off",
        low=0.0,
        high=1e12,
    ),
)
