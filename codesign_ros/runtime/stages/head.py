"""The robot's half of the work on one frame under one plan."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from codesign_ros.bundle import Bundle
from codesign_ros.engines.base import Engine
from codesign_ros.jpeg import END
from codesign_ros.pixels.boxes import Selection
from codesign_ros.runtime.answers import Answer, answer_from
from codesign_ros.runtime.neck_codec import NeckCodec
from codesign_ros.runtime.rate_level import RateLevelChoice
from codesign_ros.runtime.video_codec import video_codec_of
from codesign_ros.types.codec_names import JPEG444_CODECS, rate_levels_of
from codesign_ros.types.plan import Plan
from codesign_ros.types.tensors import NECK, InputSpec
from codesign_ros.wire.codecs import encode
from codesign_ros.wire.decode import WireError, jpeg_header
from codesign_ros.wire.tensor import EncodedTensor


@dataclass(frozen=True)
class HeadOutput:
    """What the robot's half made of one frame: an answer if it ran the whole network, else tensors.

    The answer's boxes are in pixels of the network's input. ``kept`` is what the robot can finish
    the frame from: ``encoded``, or the same written without any other frame; nothing where that is
    the frame itself that it has. ``codec`` is the
    plan's, at the rate level of this frame; empty where nothing is sent.
    """

    answer: Answer | None
    encoded: tuple[EncodedTensor, ...]
    head_s: float
    encode_s: float
    kept: tuple[EncodedTensor, ...] = ()
    codec: str = ""


def is_sendable(jpeg: bytes, input: InputSpec) -> bool:
    """Whether a camera's JPEG is just what cut 0 sends: baseline, whole, of the input's size.

    The robot then need not decode it and encode it again, which would cost time and quality.
    """
    try:
        header = jpeg_header(memoryview(jpeg), "frame")
    except WireError:
        return False
    return header.shape == (input.height, input.width, 3) and jpeg.endswith(END)


class HeadStage:
    """Frame to embedding, or to an answer when the plan keeps all on the robot.

    Args:
        bundle: the network's bundle.
        plan: what to run.
        engine: engine for ``head_key(plan)``; None at cut 0, where the frame itself is sent.
        selection: asked at every answer which boxes of a detector count.
        rate_bps: asked at every frame of a plan with rate levels how fast the uplink is [bit/s];
            0 = not known, and the plan's own level is taken.
    """

    def __init__(
        self,
        bundle: Bundle,
        plan: Plan,
        engine: Engine | None,
        selection: Callable[[], Selection] = Selection,
        rate_bps: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.plan = plan
        self._bundle = bundle
        self._engine = engine
        self._selection = selection
        self._neck = NeckCodec(bundle, plan.cut) if plan.has_neck else None
        self._codecs = rate_levels_of(plan.codec)
        self._level = RateLevelChoice(plan, rate_bps) if self._codecs else None
        # What the tail has of this plan's frames.
        self._film = self._neck.writer() if self._neck and self._neck.knows_films else None
        self._video = video_codec_of(bundle, plan)
        self._stream = self._video.writer() if self._video else None

    @property
    def sends_jpeg(self) -> bool:
        """Whether the plan sends the camera's JPEG, so that ``forward`` may stand for ``run``."""
        return self.plan.cut == 0 and self.plan.codec == "jpeg"

    def forward(self, jpeg: bytes) -> HeadOutput:
        """Send a camera's JPEG, for which ``is_sendable`` holds, as it is."""
        encoded = (self._as_it_is(jpeg),)
        return HeadOutput(None, encoded, 0.0, 0.0, encoded, self.plan.codec)

    def heard(self, sequence: int) -> None:
        """Note that the tail has read a frame, so that others may be written after it."""
        if self._film is not None:
            self._film.acknowledge(sequence)

    def forget(self, sequence: int) -> None:
        """Note that the tail refused a frame: it may be another one, and have none before it."""
        if self._film is not None:
            self._film.reset()
        self.not_sent(sequence)

    def not_sent(self, sequence: int) -> None:
        """Note that a frame does not get to the tail: none can be written after it."""
        if self._stream is not None:
            self._stream.forget(sequence)

    def run(
        self, image: np.ndarray, jpeg: bytes | None = None, sequence: int | None = None
    ) -> HeadOutput:
        """Run the head on a letterboxed frame, (H, W, 3) uint8 RGB.

        Args:
            image: the frame.
            jpeg: the same as the camera compressed it, where ``is_sendable`` holds; it is sent in
                place of one that is encoded anew and not smaller.
            sequence: its number, where its tail is told of it, and ``heard`` and ``forget`` of what
                the tail says; None = it is written without any other frame.

        Raises:
            CodesignError: the network's output is not finite, or the codec cannot express what
                crosses.
        """
        start = time.perf_counter()
        tensors = {"image": image}
        if self._engine is not None:
            tensors = self._engine.run(tensors)
        computed = time.perf_counter()
        if self.plan.cut == len(self._bundle.segments):
            answer = answer_from(tensors, self._bundle, self._selection())
            return HeadOutput(answer, (), time.perf_counter() - start, 0.0)
        encoded: tuple[EncodedTensor, ...]
        kept: tuple[EncodedTensor, ...]
        codec = self.plan.codec
        if self._level is not None:
            sent, alone = self._encode_at_level(tensors, self._level, sequence)
            encoded, kept, codec = (sent,), (alone,), sent.codec
        elif self._video is not None and self._stream is not None:
            encoded, kept = (self._video.write(image, self._stream, sequence),), ()
        else:
            encoded = tuple(encode(name, array, self.plan.codec) for name, array in tensors.items())
            kept = encoded
        if jpeg is not None and self.plan.codec in JPEG444_CODECS:
            # It has lost nothing more, and the tail reads either.
            own = self._as_it_is(jpeg)
            encoded = (own,) if own.payload_bytes <= encoded[0].payload_bytes else encoded
            kept = encoded
        encode_s = time.perf_counter() - computed
        return HeadOutput(None, encoded, computed - start, encode_s, kept, codec)

    def _as_it_is(self, jpeg: bytes) -> EncodedTensor:
        (spec,) = self._bundle.crossings[0]
        return EncodedTensor(spec.name, spec.dtype, spec.shape, "jpeg", jpeg)

    def _encode_at_level(
        self, tensors: Mapping[str, np.ndarray], choice: RateLevelChoice, sequence: int | None
    ) -> tuple[EncodedTensor, EncodedTensor]:
        """Write the one tensor that crosses, at the level that the link asks for.

        Returns:
            What to send, and the same without any other frame.
        """
        level = choice.choose()
        if self._neck is None:
            ((name, array),) = tensors.items()
            sent = alone = encode(name, array, self._codecs[level])
        elif self._film is None or sequence is None:
            sent = alone = self._neck.encode(tensors[NECK], level)
        else:
            sent, alone = self._neck.write(tensors[NECK], level, self._film, sequence)
        choice.sent(level, sent.payload_bytes)
        return sent, alone
