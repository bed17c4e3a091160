"""A robot's frames as a stream of H.264, and back: each leaves at once, and none is reordered."""

from __future__ import annotations

import functools
import secrets
import threading
from fractions import Fraction
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from codesign_ros.types.errors import CodesignError, one_line
from codesign_ros.wire.refusal import WireError
from codesign_ros.wire.video.payload import Place, opened, sealed

if TYPE_CHECKING:
    import av

ENCODER, DECODER = "libx264", "h264"
OPTIONS = {"preset": "veryfast", "tune": "zerolatency", "intra-refresh": "1"}
"""Of the encoder: no picture waits for another, and a wave of blocks that need no other picture
goes over it in place of key pictures, which would each take the link ten times as long."""

REFRESH_FRAMES = 60
"""In so many frames the wave is once across."""

# FFmpeg counts lines of pictures in memory as multiples of this at most [px].
_ALIGNED = 128

# What the encoder is told; frames come as they come, and each is written by itself.
_FPS = 30


def why_not(*, writes: bool) -> str:
    """Why this machine cannot write (or read) H.264, and the way out; empty if it can."""
    try:
        import av
    except ImportError:
        return "PyAV is not installed: pip install -r requirements/video.txt"
    try:
        av.codec.Codec(ENCODER, "w") if writes else av.codec.Codec(DECODER, "r")
    except av.codec.codec.UnknownCodecError:
        lacking = ENCODER if writes else DECODER
        return f"this build of PyAV has no {lacking}: pip install -r requirements/video.txt"
    return ""


@functools.cache
def _av(*, writes: bool) -> ModuleType:
    """PyAV.

    Raises:
        CodesignError: it is not there, or cannot do it.
    """
    if why := why_not(writes=writes):
        raise CodesignError(f"H.264 cannot be {'written' if writes else 'read'} here: {why}")
    import av

    return av


def _even(length: int) -> int:
    """Halved colours need whole pairs of rows and columns."""
    return length + length % 2


class FrameWriter:
    """Writes frames for one receiver; ``forget`` may be called by any thread.

    Args:
        height, width: of the frames [px].
        rate: constant rate factor, higher is coarser.

    Raises:
        CodesignError: PyAV or its encoder is not there.
    """

    def __init__(self, height: int, width: int, rate: int) -> None:
        self._av = _av(writes=True)
        self._size, self._rate = (height, width), rate
        self._lock = threading.Lock()
        # What the stream's first frame is numbered; None = the next one begins another stream.
        self._first: int | None = None
        self._encoder: av.VideoCodecContext | None = None
        self._colours = self._av.video.reformatter.VideoReformatter()
        self._at = Place(0, 0, 0)

    def write(self, image: np.ndarray, sequence: int) -> bytes:
        """Write the next frame; those before must be read in order to read it.

        Args:
            image: uint8 (height, width, 3), RGB.
            sequence: its number, above those before.

        Raises:
            CodesignError: another shape or type, or FFmpeg cannot write it.
        """
        with self._lock:
            encoder, is_first = self._encoder, self._first is None
            if is_first:
                self._first = sequence
        try:
            if is_first or encoder is None:
                encoder, at = self._new_encoder(), Place(secrets.randbits(32), -1, 0)
            else:
                at = self._at
            picture = self._picture(encoder, image, at.number + 1)
        except CodesignError:
            self.forget(sequence)
            raise
        payload, self._at = sealed(at.stream, at.number + 1, at.checksum, picture)
        self._encoder = encoder
        return payload

    def alone(self, image: np.ndarray) -> bytes:
        """Write a frame that needs no other, as a stream of one.

        Raises:
            CodesignError: as ``write``.
        """
        return sealed(secrets.randbits(32), 0, 0, self._picture(self._new_encoder(), image, 0))[0]

    def forget(self, sequence: int) -> None:
        """Note that a frame was not read, nor will those after it be: the next begins a stream.

        One of a stream that has ended says nothing new.
        """
        with self._lock:
            if self._first is not None and sequence >= self._first:
                self._first = None

    def end(self) -> None:
        """End the stream: the next frame begins another."""
        with self._lock:
            self._first = None

    def _new_encoder(self) -> av.VideoCodecContext:
        encoder = self._av.CodecContext.create(ENCODER, "w")
        encoder.height, encoder.width = map(_even, self._size)
        encoder.pix_fmt = "yuv420p"
        encoder.framerate, encoder.time_base = Fraction(_FPS), Fraction(1, _FPS)
        encoder.gop_size = REFRESH_FRAMES
        encoder.thread_count = 1
        encoder.options = {**OPTIONS, "crf": str(self._rate)}
        return encoder

    def _picture(self, encoder: av.VideoCodecContext, image: np.ndarray, number: int) -> bytes:
        """H.264 of the encoder's next picture."""
        if image.shape != (*self._size, 3) or image.dtype != np.uint8:
            raise CodesignError(
                f"frames of this stream are uint8 {(*self._size, 3)}, not {image.dtype} "
                f"{image.shape}"
            )
        more = [(0, _even(length) - length) for length in self._size]
        even = np.pad(image, (*more, (0, 0)), "edge") if any(b for _, b in more) else image
        frame = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
        frame = self._colours.reformat(frame, format="yuv420p")
        frame.pts = number
        try:
            packets = encoder.encode(frame)
        except self._av.error.FFmpegError as error:
            raise CodesignError(f"H.264 cannot be written: {one_line(error)}") from error
        if len(packets) != 1:
            raise CodesignError(
                f"{ENCODER} made {len(packets)} packets of one frame: this build of PyAV does not "
                "code at low latency; use another version"
            )
        return bytes(packets[0])


class FrameReader:
    """Reads the frames of one ``FrameWriter``; for one thread.

    Args:
        height, width: of the frames [px].

    Raises:
        CodesignError: PyAV or its decoder is not there.
    """

    def __init__(self, height: int, width: int) -> None:
        self._av = _av(writes=False)
        self._size = height, width
        self._decoder: av.VideoCodecContext | None = None
        self._colours = self._av.video.reformatter.VideoReformatter()
        self._at: Place | None = None

    def read(self, payload: bytes | bytearray | memoryview) -> np.ndarray:
        """Read the stream's next frame, or the first of another one; trusting nothing.

        Returns:
            uint8 (height, width, 3), RGB, its own memory.

        Raises:
            WireError: see ``opened``, or FFmpeg cannot read it; nothing else is ever raised.
        """
        height, width = map(_even, self._size)
        picture, at = opened(payload, height, width, self._at)
        decoder = self._decoder
        if at.number == 0 or decoder is None:
            decoder = self._new_decoder(height, width)
        # Whatever goes wrong from here on, the decoder is not where the writer thinks it is.
        self._at = self._decoder = None
        try:
            frames = decoder.decode(self._av.Packet(bytes(picture)))
        except (self._av.error.FFmpegError, ValueError) as error:
            raise WireError("corrupt", "a frame of H.264 cannot be decoded") from error
        sizes = [(frame.height, frame.width, frame.format.name) for frame in frames]
        if sizes != [(height, width, "yuv420p")] or frames[0].is_corrupt:
            raise WireError("corrupt", "a frame of H.264 cannot be decoded")
        self._at, self._decoder = at, decoder
        rgb = self._colours.reformat(frames[0], format="rgb24").to_ndarray()
        return np.ascontiguousarray(rgb[: self._size[0], : self._size[1]])

    def _new_decoder(self, height: int, width: int) -> av.VideoCodecContext:
        decoder = self._av.CodecContext.create(DECODER, "r")
        decoder.thread_count = 1
        # The size was read from the stream already; should FFmpeg read another, it takes no memory.
        rows, line = 16 * -(-height // 16), _ALIGNED * -(-width // _ALIGNED)
        decoder.options = {"max_pixels": str(rows * line), "err_detect": "explode"}
        return decoder
