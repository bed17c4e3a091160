"""Frames through head, wire and tail in one process, each under the plan that it is given.

Both halves are those of ``runtime/stages/``, so that with the same plan and engine every answer
is the one that the four processes give.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from codesign_ros.bundle import Bundle
from codesign_ros.data.frames import SourceFrame
from codesign_ros.engines.base import Engine, EngineKey
from codesign_ros.engines.factory import EngineFactory
from codesign_ros.pixels.boxes import Selection, to_frame
from codesign_ros.pixels.letterbox import letterbox
from codesign_ros.runtime.answers import Answer
from codesign_ros.runtime.stages.engine_keys import head_key, tail_key
from codesign_ros.runtime.stages.head import HeadStage, is_sendable
from codesign_ros.runtime.stages.tail import TailStage
from codesign_ros.types.boxes import GroundTruth
from codesign_ros.types.plan import Plan


@dataclass(frozen=True)
class ReplayedFrame:
    """The answer for one frame.

    Attributes:
        stamp_ns: the frame's stamp [ns].
        answer: what the network says; boxes in pixels of the frame.
        truth: what is truly in the frame; None where the source does not know it.
        payload_bytes: what crossed the link [bytes].
        file: the picture's file, where it has one of its own.
    """

    stamp_ns: int
    answer: Answer
    truth: GroundTruth | None
    payload_bytes: int
    file: Path | None = None


def is_same(one: Answer, other: Answer) -> bool:
    """Whether two answers have the same label, scores and boxes, but for float32's rounding."""
    if one.label != other.label or len(one.detections) != len(other.detections):
        return False
    if len(one.class_scores) != len(other.class_scores):
        return False
    pairs = list(zip(one.detections, other.detections, strict=True))
    a, b = (
        [[box.x_min, box.y_min, box.x_max, box.y_max, box.score] for box in boxes]
        for boxes in (one.detections, other.detections)
    )
    return all(x.label == y.label for x, y in pairs) and all(
        np.allclose(x, y, rtol=1e-5, atol=1e-5)
        for x, y in ((a, b), (one.class_scores, other.class_scores))
    )


# There is one head.
_SESSION = 0


@dataclass
class Runner:
    """Runs frames under plans as the nodes do, with the engines of each plan kept.

    Frames come in the order of a film: one that is written as video is written after the last one
    that was run under the same plan.

    Attributes:
        bundle: the network.
        factory: makes its engines.
        selection: which boxes of a detector count.
    """

    bundle: Bundle
    factory: EngineFactory
    selection: Selection = field(default_factory=Selection)
    _stages: dict[Any, tuple[HeadStage, TailStage | None]] = field(default_factory=dict)
    _engines: list[Engine] = field(default_factory=list)
    _frames: int = 0

    def run(self, frame: SourceFrame, plan: Plan) -> ReplayedFrame:
        """Run one frame through head, wire and tail.

        Raises:
            CodesignError: the frame cannot be read, the plan cannot be followed, or the network's
                output is not finite.
        """
        head, tail = self._stages_of(plan)
        spec = self.bundle.input
        jpeg = frame.data if frame.encoding == "jpeg" and is_sendable(frame.data, spec) else None
        if jpeg is not None and head.sends_jpeg:
            height, width = spec.height, spec.width
            sent = head.forward(jpeg)
        else:
            rgb = frame.rgb()
            height, width, _ = rgb.shape
            sent = head.run(letterbox(rgb, spec), jpeg, self._frames)
        sender = _SESSION, self._frames
        self._frames += 1
        answer = sent.answer if tail is None else tail.run(tail.decode(sent.encoded, sender))
        assert answer is not None
        boxes = tuple(to_frame(answer.detections, height, width, spec))
        return ReplayedFrame(
            stamp_ns=frame.stamp_ns,
            answer=replace(answer, detections=boxes),
            truth=frame.truth,
            payload_bytes=sum(tensor.payload_bytes for tensor in sent.encoded),
            file=frame.file,
        )

    def close(self) -> None:
        """Free the engines and close the factory; nothing can be run afterwards."""
        for engine in self._engines:
            engine.close()
        self.factory.close()

    def _stages_of(self, plan: Plan) -> tuple[HeadStage, TailStage | None]:
        last = self.bundle.last_cut
        key = (head_key(plan), tail_key(plan), plan.codec)
        if key not in self._stages:
            engine = self._build(head_key(plan)) if plan.cut else None
            head = HeadStage(self.bundle, plan, engine, self._selected)
            tail = None
            if plan.cut < last:
                engine = self._build(tail_key(plan))
                tail = TailStage(self.bundle, plan, engine, self._selected)
            self._stages[key] = head, tail
        return self._stages[key]

    def _selected(self) -> Selection:
        return self.selection

    def _build(self, key: EngineKey) -> Engine:
        engine = self.factory.build(key)
        self._engines.append(engine)
        return engine
