"""Frames as a stream of H.264, as nodes, profiles and evaluation write and read them."""

from __future__ import annotations

import numpy as np

from codesign_ros.bundle import Bundle
from codesign_ros.types.codec_names import H264_CODECS, H264_RATES
from codesign_ros.types.plan import Plan
from codesign_ros.types.tensors import TensorSpec
from codesign_ros.wire.decode import WireLimits, check_description, check_params
from codesign_ros.wire.tensor import EncodedTensor
from codesign_ros.wire.video.stream import FrameReader, FrameWriter


class VideoCodec:
    """One codec of ``H264_CODECS`` for the frames of one network.

    Args:
        spec: the frame, uint8 (H, W, 3), RGB.
        codec: which.

    Attributes:
        codec: likewise.
    """

    def __init__(self, spec: TensorSpec, codec: str) -> None:
        self._spec, self.codec = spec, codec
        self._height, self._width, _ = spec.shape
        self._rate = H264_RATES[H264_CODECS.index(codec)]

    def writer(self) -> FrameWriter:
        """Make what writes the frames for one receiver.

        Raises:
            CodesignError: PyAV or its encoder is not there.
        """
        return FrameWriter(self._height, self._width, self._rate)

    def reader(self) -> FrameReader:
        """Make what reads the frames of one sender.

        Raises:
            CodesignError: PyAV or its decoder is not there.
        """
        return FrameReader(self._height, self._width)

    def write(
        self, image: np.ndarray, writer: FrameWriter, sequence: int | None = None
    ) -> EncodedTensor:
        """Write the next frame; without a number, one that needs no other.

        Raises:
            CodesignError: it cannot be written.
        """
        data = writer.alone(image) if sequence is None else writer.write(image, sequence)
        return EncodedTensor(self._spec.name, "uint8", self._spec.shape, self.codec, data)

    def decode(self, encoded: EncodedTensor, limits: WireLimits, reader: FrameReader) -> np.ndarray:
        """Read a frame, uint8 (H, W, 3).

        Raises:
            WireError: it is no such frame, or is written after one that the reader has not seen.
        """
        check_description(encoded, self._spec, limits, (self.codec,))
        check_params(encoded, self._spec, self.codec)
        return reader.read(encoded.data)


def video_codec_of(bundle: Bundle, plan: Plan) -> VideoCodec | None:
    """What writes and reads the frames of a plan that sends them as a stream; else None."""
    if plan.codec not in H264_CODECS:
        return None
    (spec,) = bundle.crossings[0]
    return VideoCodec(spec, plan.codec)
