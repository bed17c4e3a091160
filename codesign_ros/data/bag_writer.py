"""Records a film of the synthetic mine as a ROS 2 bag with ground truth."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args

import cv2
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer, WriterError

from codesign_ros.data.bags import COMPRESSED_TOPIC, IMAGE_TOPIC, TRUTH_TOPIC
from codesign_ros.data.storage.decoding import (
    COMPRESSED_TYPE,
    IMAGE_TYPE,
    TRUTH_TYPE,
    typestore,
)
from codesign_ros.data.storage.writing import NewBag
from codesign_ros.mine.generator import MineFrame, MineGenerator
from codesign_ros.types.boxes import GroundTruth
from codesign_ros.types.errors import CodesignError

Storage = Literal["mcap", "sqlite3"]
# A fixed day, so that the same seed gives the same bytes.
START_NS = 1_700_000_000_000_000_000
FRAME_ID = "camera"
JPEG_QUALITY = 85


def write_mine_bag(
    out: Path,
    *,
    seed: int,
    frames: int,
    storage: Storage = "mcap",
    raw: bool = False,
    fps: float = 30.0,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a bag directory that `ros2 bag play` and Foxglove read.

    Args:
        out: The directory to make; one that is there must be empty.
        seed: Seed of the mine; the same seed gives the same messages.
        frames: How many frames, at least 1.
        storage: ``mcap`` (chunks compressed with zstd) or ``sqlite3``.
        raw: Image messages (bgr8) instead of JPEGs.
        fps: Frames per second of the stamps and of the motion.
        progress: Called with (frames written, frames in all) after each frame.

    Raises:
        CodesignError: ``out`` is there and not empty or cannot be written, or an argument makes no
            sense.
    """
    if frames < 1 or fps <= 0:
        raise CodesignError(f"a mine bag needs frames >= 1 and fps > 0 (not {frames}, {fps})")
    mine = MineGenerator(seed)
    if storage not in get_args(Storage):
        known = ", ".join(get_args(Storage))
        raise CodesignError(f"unknown bag storage '{storage}'; known are {known}")
    writer = NewBag(out, StoragePlugin[storage.upper()])
    if storage == "mcap":
        writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
    try:
        _write(writer, mine, frames, raw, fps, progress)
    except (OSError, WriterError) as error:
        writer.discard()
        raise CodesignError(f"cannot write bag {out}: {error}") from error
    except BaseException:
        # Half a bag would only be refused later; Ctrl-C leaves nothing behind.
        writer.discard()
        raise


def _write(
    writer: Writer,
    mine: MineGenerator,
    frames: int,
    raw: bool,
    fps: float,
    progress: Callable[[int, int], None] | None,
) -> None:
    store = typestore()
    topic, image_type = (IMAGE_TOPIC, IMAGE_TYPE) if raw else (COMPRESSED_TOPIC, COMPRESSED_TYPE)
    with writer:
        images = writer.add_connection(topic, image_type, typestore=store)
        truths = writer.add_connection(TRUTH_TOPIC, TRUTH_TYPE, typestore=store)
        for number, frame in enumerate(mine.sequence(frames, fps)):
            stamp_ns = START_NS + round(number * 1e9 / fps)
            header = _header(stamp_ns)
            image = _raw_image(header, frame) if raw else _jpeg_image(header, frame)
            truth = _truth(header, frame.truth)
            writer.write(images, stamp_ns, store.serialize_cdr(image, image_type))
            writer.write(truths, stamp_ns, store.serialize_cdr(truth, TRUTH_TYPE))
            if progress is not None:
                progress(number + 1, frames)


def _header(stamp_ns: int) -> Any:
    types = typestore().types
    time = types["builtin_interfaces/msg/Time"](
        sec=stamp_ns // 1_000_000_000, nanosec=stamp_ns % 1_000_000_000
    )
    return types["std_msgs/msg/Header"](stamp=time, frame_id=FRAME_ID)


def _jpeg_image(header: Any, frame: MineFrame) -> Any:
    done, data = cv2.imencode(".jpg", frame.image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise CodesignError("OpenCV could not encode a JPEG")
    return typestore().types[COMPRESSED_TYPE](header=header, format="jpeg", data=data.ravel())


def _raw_image(header: Any, frame: MineFrame) -> Any:
    height, width, channels = frame.image.shape
    return typestore().types[IMAGE_TYPE](
        header=header,
        height=height,
        width=width,
        encoding="bgr8",
        is_bigendian=0,
        step=width * channels,
        data=frame.image.ravel(),
    )


def _truth(header: Any, truth: GroundTruth) -> Any:
    types = typestore().types
    detection = types["codesign_ros/msg/Detection"]
    return types[TRUTH_TYPE](
        header=header,
        label=truth.label,
        boxes=[detection(**vars(box)) for box in truth.boxes],
    )
