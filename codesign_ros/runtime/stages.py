"""The two halves of the work on one frame under one plan, for the nodes and the evaluation."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from codesign_ros.bundle import Bundle
from codesign_ros.codec_names import H264_CODECS, JPEG444_CODECS, NECK_CODECS, rate_levels_of
from codesign_ros.engines.base import Engine, EngineKey
from codesign_ros.errors import CodesignError
from codesign_ros.forms import Part
from codesign_ros.jpeg import END
from codesign_ros.pixels.boxes import Selection
from codesign_ros.plan import Plan
from codesign_ros.runtime.answers import Answer, answer_from
from codesign_ros.runtime.engines.leases import Lease
from codesign_ros.runtime.neck_codec import NeckCodec
from codesign_ros.runtime.rate_level import RateLevelChoice
from codesign_ros.runtime.remembered import Remembered
from codesign_ros.runtime.video_codec import VideoCodec
from codesign_ros.tensors import NECK, InputSpec
from codesign_ros.wire.codecs import JPEG_CODECS, encode, plannable
from codesign_ros.wire.decode import WireError, WireLimits, decode, jpeg_header
from codesign_ros.wire.neck.film import CodeReader
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


def head_key(plan: Plan) -> EngineKey:
    """Name the engine that a plan's head runs (for a cut above 0)."""
    return EngineKey(
        "head", plan.cut, plan.head_structure, plan.merge, plan.precision, plan.has_neck
    )


def tail_key(plan: Plan) -> EngineKey:
    """Name the engine that a plan's tail runs (for a cut below N)."""
    return EngineKey(
        "tail", plan.cut, plan.tail_structure, plan.merge, plan.precision, plan.has_neck
    )


def half_key(plan: Plan, part: Part, segments: int) -> EngineKey | None:
    """Name the engine that one side of a plan runs; None where that half is empty."""
    if plan.cut == (0 if part == "head" else segments):
        return None
    return head_key(plan) if part == "head" else tail_key(plan)


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
        self._video = _video_codec(bundle, plan)
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


class TailStage:
    """Embedding to answer.

    Args:
        bundle: the network's bundle.
        plan: what to run.
        engine: engine for ``tail_key(plan)``.
        selection: asked at every answer which boxes of a detector count.
    """

    def __init__(
        self,
        bundle: Bundle,
        plan: Plan,
        engine: Engine,
        selection: Callable[[], Selection] = Selection,
    ) -> None:
        self.plan = plan
        self._bundle = bundle
        self._engine = engine
        self._selection = selection
        crossing = bundle.crossings[plan.cut]
        self._expected = (bundle.neck(plan.cut).spec,) if plan.has_neck else crossing
        self._neck = NeckCodec(bundle, plan.cut) if plan.has_neck else None
        # Under a plan that encodes frames as JPEGs each may be of another quality, or the camera's.
        self._codecs = JPEG_CODECS if plan.codec in JPEG444_CODECS else (plan.codec,)
        knows_films = self._neck is not None and self._neck.knows_films
        self._films = Remembered(self._neck.reader) if self._neck and knows_films else None
        self._video = _video_codec(bundle, plan)
        if self._video is not None:
            self._video.reader()  # whether this machine can
        self._streams = Remembered(self._video.reader) if self._video else None
        self._limits = WireLimits()

    @property
    def max_batch(self) -> int:
        """Frames that ``run_batch`` takes at most."""
        return self._engine.max_batch

    def decode(
        self, tensors: Sequence[EncodedTensor], sender: tuple[int, int] | None = None
    ) -> dict[str, np.ndarray]:
        """Turn what came over the wire into the tensors that cross at this cut.

        With a neck that is what its encoder made, at any of its levels. One thread at a time may
        ask.

        Args:
            tensors: what came.
            sender: session of the head, and its number of the frame, which others of it may be
                written after; None = only what is written without any other frame can be read.

        Raises:
            WireError: number, name, shape, type, codec, length or content is not what the plan's
                cut needs; nothing was allocated for it.
        """
        if len(tensors) != len(self._expected):
            raise WireError(
                "shape",
                f"{len(tensors)} tensors came, cut {self.plan.cut} has {len(self._expected)}",
            )
        if self._neck is not None:
            reader, sequence = self._film_of(sender)
            return {NECK: self._neck.decode(tensors[0], self._limits, reader, sequence)}
        if self._video is not None and self._streams is not None:
            stream = self._streams.of(sender[0]) if sender else self._video.reader()
            return {self._expected[0].name: self._video.decode(tensors[0], self._limits, stream)}
        arrays = {}
        for encoded, spec in zip(tensors, self._expected, strict=True):
            if encoded.codec not in self._codecs:
                raise WireError(
                    "codec", f"codec {encoded.codec!r} came, the plan has {self.plan.codec!r}"
                )
            arrays[spec.name] = decode(encoded, spec, self._limits)
        return arrays

    def _film_of(self, sender: tuple[int, int] | None) -> tuple[CodeReader | None, int]:
        """What is remembered of a head's frames, and the number of this one."""
        if sender is None or self._films is None:
            return None, 0
        session, sequence = sender
        return self._films.of(session), sequence

    def run(self, tensors: dict[str, np.ndarray]) -> Answer:
        """Run the tail on decoded tensors.

        Returns:
            The answer; boxes in pixels of the network's input.

        Raises:
            CodesignError: with these values the network's output is not finite.
        """
        return self._answer(self._engine.run(tensors))

    def run_batch(self, batch: Sequence[dict[str, np.ndarray]]) -> list[Answer | CodesignError]:
        """Run the tail on the decoded tensors of several frames at once, at most ``max_batch``.

        Returns:
            For each frame its answer, or what ``run`` would have raised for it alone.
        """
        outcomes: list[Answer | CodesignError] = []
        for outputs in self._engine.run_batch(batch):
            try:
                outcomes.append(self._answer(outputs))
            except CodesignError as error:
                outcomes.append(error)
        return outcomes

    def _answer(self, outputs: dict[str, np.ndarray]) -> Answer:
        return answer_from(outputs, self._bundle, self._selection())


def _video_codec(bundle: Bundle, plan: Plan) -> VideoCodec | None:
    """What writes and reads the frames of a plan that sends them as a stream; else None."""
    if plan.codec not in H264_CODECS:
        return None
    (spec,) = bundle.crossings[0]
    return VideoCodec(spec, plan.codec)


Stage = TypeVar("Stage", HeadStage, TailStage)


@dataclass(frozen=True)
class LeasedStage(Generic[Stage]):
    """A stage, and the lease of its engine that one user has; None where it runs no engine."""

    stage: Stage
    lease: Lease[Engine] | None

    def again(self) -> LeasedStage[Stage]:
        """The same stage for one more user."""
        return LeasedStage(self.stage, self.lease.again() if self.lease else None)

    def release(self) -> None:
        """Give the engine back; the last user's release closes it. Twice is as good as once."""
        if self.lease is not None:
            self.lease.release()


def check_plan(plan: Plan, bundle: Bundle) -> None:
    """Refuse a plan that this bundle cannot follow.

    Raises:
        CodesignError: the plan is for another network, has a cut that this one does not have, or a
            codec or rate levels that cannot carry what crosses there.
    """
    if plan.model_id != bundle.model_id:
        raise CodesignError(
            f"the plan is for network {plan.model_id!r}, this node has {bundle.model_id!r} "
            f"({bundle.name}); start head, tail and planner with the same bundle"
        )
    last = bundle.last_cut
    if not 0 <= plan.cut <= last:
        raise CodesignError(f"cut {plan.cut} does not exist; cuts are 0 to {last}")
    necks = [neck for neck in bundle.necks if neck.cut == plan.cut]
    of_neck = NECK_CODECS[: necks[0].levels] if necks else ()
    levels = len(of_neck if plan.has_neck else rate_levels_of(plan.codec))
    if plan.levels and max(each.level for each in plan.levels) >= levels:
        raise CodesignError(
            f"the plan has rate levels that codec {plan.codec!r} has not: it has {levels}"
        )
    if plan.codec in of_neck:
        return
    for spec in bundle.crossings[plan.cut] if plan.cut < last else ():
        usable = plannable(spec, plan.cut)
        if plan.codec not in usable:
            raise CodesignError(
                f"codec {plan.codec!r} cannot carry tensor {spec.name!r} at cut {plan.cut}; "
                f"usable: {', '.join((*usable, *of_neck))}"
            )
