"""Frames of video files and of Video4Linux cameras, by OpenCV."""

from __future__ import annotations

import itertools
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import cv2

from codesign_ros.data.frames import SourceFrame
from codesign_ros.types.errors import CodesignError

# FFmpeg prints to stderr what we report ourselves; OpenCV reads this when it first opens a video.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # AV_LOG_QUIET

# OpenCV 4.11 has its log level here, 4.14 there.
_OPENCV_LOG = cv2 if hasattr(cv2, "setLogLevel") else cv2.utils.logging
_SILENT = 0


class VideoSource:
    """A video file that OpenCV can decode."""

    live = False

    def __init__(self, path: Path) -> None:
        self._path = path
        capture = self._open()
        self.fps = float(capture.get(cv2.CAP_PROP_FPS))
        count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        can_read = capture.grab()
        capture.release()
        if not can_read or not 0 < self.fps < 10_000:
            raise CodesignError(f"video {path} holds no frame that can be decoded")
        # Containers without an index report nonsense.
        self.frames: int | None = count if count > 0 else None

    def _open(self) -> cv2.VideoCapture:
        return _opened(
            f"{self._path} is neither a bag nor a video that can be decoded", str(self._path)
        )

    def __iter__(self) -> Iterator[SourceFrame]:
        capture = self._open()
        try:
            for number in itertools.count():
                done, image = capture.read()
                if not done:
                    return
                yield _bgr_frame(round(number * 1e9 / self.fps), image)
        finally:
            capture.release()


class CameraSource:
    """A camera of Video4Linux, stamped with this machine's clock when a frame arrives."""

    live = True
    frames = None

    def __init__(self, device: Path, fps: float, size: tuple[int, int] = (0, 0)) -> None:
        self._device = device
        self._size = size
        if not device.exists():
            raise CodesignError(f"camera {device} does not exist")
        # Names below /dev/v4l are links; OpenCV wants the number.
        match = re.fullmatch(r"/dev/video(\d+)", str(device.resolve()))
        if match is None:
            raise CodesignError(f"{device} is no camera (expected /dev/videoN or a link to one)")
        self._number = int(match[1])
        capture = self._open(fps)
        self.fps = float(capture.get(cv2.CAP_PROP_FPS)) or fps
        capture.release()

    def _open(self, fps: float) -> cv2.VideoCapture:
        complaint = f"camera {self._device} cannot be opened (in use, or no camera)"
        capture = _opened(complaint, self._number, cv2.CAP_V4L2)
        # Of what it cannot do, a camera takes what is nearest.
        for wanted, pixels in zip(
            (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT), self._size, strict=True
        ):
            if pixels:
                capture.set(wanted, pixels)
        capture.set(cv2.CAP_PROP_FPS, fps)
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        return capture

    def __iter__(self) -> Iterator[SourceFrame]:
        capture = self._open(self.fps)
        try:
            while True:
                done, image = capture.read()
                if not done:
                    raise CodesignError(f"camera {self._device} stopped sending frames")
                yield _bgr_frame(time.time_ns(), image)
        finally:
            capture.release()


def _opened(complaint: str, *what: str | int) -> cv2.VideoCapture:
    """Open a capture; raise CodesignError where that fails, of which OpenCV would print too."""
    level = _OPENCV_LOG.getLogLevel()
    _OPENCV_LOG.setLogLevel(_SILENT)
    try:
        capture = cv2.VideoCapture(*what)
    finally:
        _OPENCV_LOG.setLogLevel(level)
    if not capture.isOpened():
        capture.release()
        raise CodesignError(complaint)
    return capture


def _bgr_frame(stamp_ns: int, image: cv2.typing.MatLike) -> SourceFrame:
    height, width, channels = image.shape
    return SourceFrame(stamp_ns, image.tobytes(), "bgr8", height, width, width * channels)
