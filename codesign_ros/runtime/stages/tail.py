"""The server's half of the work on one frame under one plan."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from codesign_ros.bundle import Bundle
from codesign_ros.engines.base import Engine
from codesign_ros.pixels.boxes import Selection
from codesign_ros.runtime.answers import Answer, answer_from
from codesign_ros.runtime.neck_codec import NeckCodec
from codesign_ros.runtime.remembered import Remembered
from codesign_ros.runtime.video_codec import video_codec_of
from codesign_ros.types.codec_names import JPEG444_CODECS
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.plan import Plan
from codesign_ros.types.tensors import NECK
from codesign_ros.wire.codecs import JPEG_CODECS
from codesign_ros.wire.decode import WireError, WireLimits, decode
from codesign_ros.wire.neck.film import CodeReader
from codesign_ros.wire.tensor import EncodedTensor


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
        self._video = video_codec_of(bundle, plan)
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
