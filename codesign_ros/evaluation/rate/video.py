"""H.264, H.265 and AV1 as a robot streams them: each frame leaves at once and none is reordered.

By PyAV, which need not be there. One thread each, so that equal frames make equal bytes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from codesign_ros.evaluation.rate.coders import Coded, FrameCoder
from codesign_ros.types.errors import CodesignError, one_line
from codesign_ros.wire.video.stream import DECODER, ENCODER, OPTIONS


@dataclass(frozen=True)
class VideoFormat:
    """A video format with the encoder that writes it.

    Attributes:
        family: what it is called.
        encoder: FFmpeg's name of the encoder.
        decoder: of the decoder.
        options: of the encoder, for low latency.
        rates: constant rate factors (crf), the finest first.
    """

    family: str
    encoder: str
    decoder: str
    options: Mapping[str, str]
    rates: tuple[int, ...]


FORMATS = (
    VideoFormat(
        "h264",
        ENCODER,
        DECODER,
        # As plans send it.
        OPTIONS,
        (18, 23, 28, 33),
    ),
    VideoFormat(
        "h265",
        "libx265",
        "hevc",
        {
            "preset": "veryfast",
            "tune": "zerolatency",
            "x265-params": "log-level=none:pools=none:frame-threads=1:intra-refresh=1",
        },
        (22, 28, 34),
    ),
    VideoFormat(
        "av1",
        "libsvtav1",
        "libdav1d",
        {"preset": "10", "svtav1-params": "pred-struct=1:lookahead=0:rtc=1:lp=1"},
        (28, 40, 50),
    ),
)

_REFRESH_S = 2.0
"""After a lost frame the picture is whole again within this time [s]."""


@dataclass
class VideoCoder:
    """One film through an encoder and a decoder; frames must come in their order.

    Attributes:
        format: which.
        rate: constant rate factor, higher is coarser.
        fps: frames a second of the film.

    Raises:
        CodesignError: PyAV or its encoder is not there.
    """

    format: VideoFormat
    rate: int
    fps: float
    _encoder: Any = field(default=None, repr=False)
    _decoder: Any = field(default=None, repr=False)
    _frames: int = 0

    @property
    def family(self) -> str:
        """Name of the format."""
        return self.format.family

    @property
    def name(self) -> str:
        """Format and rate factor."""
        return f"{self.format.family}.crf{self.rate}"

    def code(self, image: np.ndarray) -> Coded:
        """Write the film's next frame and read it."""
        import av

        height, width, _ = image.shape
        # Halved colours need whole pairs of rows and columns.
        even = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
        if self._encoder is None:
            self._open(*even.shape[:2])
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
        frame = frame.reformat(format="yuv420p")
        frame.pts = self._frames
        try:
            packets = self._encoder.encode(frame)
            read = [each for packet in packets for each in self._decoder.decode(packet)]
        except av.error.FFmpegError as error:
            raise CodesignError(f"{self.name}: {one_line(error)}") from error
        if len(read) != 1:
            raise CodesignError(
                f"{self.name} made {len(read)} frames of frame {self._frames}: this build of PyAV "
                "does not code at low latency; use another version"
            )
        self._frames += 1
        picture = read[0].to_ndarray(format="rgb24")[:height, :width]
        return Coded(sum(packet.size for packet in packets), picture)

    def _open(self, height: int, width: int) -> None:
        import av

        os.environ.setdefault("SVT_LOG", "0")  # it would write its settings to standard error
        # A recording may have a frame in an hour; the rate is for the coder's budget alone.
        fps = max(Fraction(self.fps).limit_denominator(1000), Fraction(1, 1000))
        self._encoder = av.CodecContext.create(self.format.encoder, "w")
        self._encoder.width, self._encoder.height = width, height
        self._encoder.pix_fmt = "yuv420p"
        self._encoder.framerate, self._encoder.time_base = fps, 1 / fps
        self._encoder.gop_size = max(1, round(_REFRESH_S * self.fps))
        self._encoder.thread_count = 1
        self._encoder.options = {**self.format.options, "crf": str(self.rate)}
        self._decoder = av.CodecContext.create(self.format.decoder, "r")
        self._decoder.thread_count = 1


def video_coders(fps: float) -> tuple[list[FrameCoder], list[str]]:
    """Make all that this machine has.

    Args:
        fps: frames a second of the film.

    Returns:
        The coders, and a line for what is left out and why.
    """
    try:
        import av
    except ImportError:
        names = ", ".join(each.family for each in FORMATS)
        return [], [f"{names} are left out: PyAV is not installed (pip install av)"]
    coders: list[FrameCoder] = []
    missing = []
    for each in FORMATS:
        try:
            av.codec.Codec(each.encoder, "w")
            av.codec.Codec(each.decoder, "r")
        except av.codec.codec.UnknownCodecError:
            missing.append(
                f"{each.family} is left out: this build of PyAV has no {each.encoder} or no "
                f"{each.decoder}"
            )
            continue
        coders += [VideoCoder(each, rate, fps) for rate in each.rates]
    return coders, missing
