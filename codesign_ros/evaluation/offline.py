"""A bag, or any other source, through head, wire and tail in one process: what the nodes compute.

Both halves are those of ``runtime/stages.py``, so that with the same plan and engine every
prediction is the one that the four processes make.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from codesign_ros.bundle import Bundle
from codesign_ros.data.frames import FrameSource, SourceFrame
from codesign_ros.data.images import to_rgb
from codesign_ros.engines.factory import EngineFactory
from codesign_ros.evaluation.metrics import accuracy, confusion_matrix
from codesign_ros.preprocess import letterbox
from codesign_ros.runtime.stages import (
    HeadStage,
    Scores,
    TailStage,
    head_key,
    is_sendable,
    tail_key,
)
from codesign_ros.types import CodesignError, Merge, Plan, Structure
from codesign_ros.wire.codecs import codecs_for


@dataclass(frozen=True)
class Prediction:
    """The answer for one frame; ``truth`` is None where the source does not know it."""

    stamp_ns: int
    label: str
    score: float
    truth: str | None
    payload_bytes: int


@dataclass(frozen=True)
class Evaluation:
    """Answers for all frames of a source under one plan.

    Attributes:
        plan: what was run.
        classes: names of the classes.
        predictions: one for each frame, in order.
    """

    plan: Plan
    classes: tuple[str, ...]
    predictions: tuple[Prediction, ...]

    @property
    def frames(self) -> int:
        """Number of frames."""
        return len(self.predictions)

    @property
    def confusion(self) -> np.ndarray:
        """(classes, classes) counts, row = truth, column = answer, of frames whose truth is known.

        Raises:
            CodesignError: the truth names a class that the network does not know.
        """
        index = {name: i for i, name in enumerate(self.classes)}
        known = [(p.truth, p.label) for p in self.predictions if p.truth is not None]
        for truth, _ in known:
            if truth not in index:
                raise CodesignError(
                    f"the source's ground truth has class '{truth}', the bundle knows "
                    f"{', '.join(self.classes)}: they do not belong together"
                )
        truths, labels = ([index[pair[i]] for pair in known] for i in (0, 1))
        return confusion_matrix(truths, labels, len(self.classes))

    @property
    def accuracy(self) -> float | None:
        """Share of right answers, 0 to 1; None where the source has no ground truth."""
        return accuracy(self.confusion)

    def to_json(self) -> dict[str, Any]:
        """Return all of it as plain values for a JSON file."""
        plan = self.plan
        counts = Counter(p.label for p in self.predictions)
        confusion = self.confusion
        return {
            "frames": self.frames,
            "accuracy": accuracy(confusion),
            "classes": list(self.classes),
            "predicted": {name: counts[name] for name in self.classes},
            "confusion": confusion.tolist(),
            "plan": {
                "cut": plan.cut,
                "head_structure": plan.head_structure.value,
                "tail_structure": plan.tail_structure.value,
                "merge": plan.merge.value,
                "precision": plan.precision,
                "codec": plan.codec,
            },
            "wire_bytes_per_frame": float(
                np.mean([p.payload_bytes for p in self.predictions] or [0])
            ),
            "predictions": [{"stamp_ns": p.stamp_ns, "label": p.label} for p in self.predictions],
        }


def evaluate(
    source: FrameSource,
    bundle: Bundle,
    *,
    cut: int | None = None,
    head_structure: Structure = Structure.S3,
    tail_structure: Structure = Structure.S3,
    merge: Merge = Merge.FOLD,
    codec: str = "raw",
    backend: str = "onnxruntime",
    threads: int = 1,
    progress: Callable[[int], None] | None = None,
) -> Evaluation:
    """Run every frame of ``source`` through head, wire and tail.

    Args:
        source: where frames come from; it must have an end.
        bundle: the network.
        cut: 0 to N; None = N, the whole network as the robot runs it alone.
        head_structure: branches that stay in the head's blocks.
        tail_structure: branches that stay in the tail's blocks.
        merge: what becomes of the others.
        codec: how the tensors at the cut are written; not used at cut N.
        backend: one of ``engines.factory.BACKENDS``.
        threads: threads that one engine may use.
        progress: called with the number of frames done after each frame.

    Raises:
        CodesignError: the cut, codec or backend is not known, the codec cannot carry what crosses
            at the cut, or a frame cannot be read.
    """
    last = len(bundle.segments)
    plan = Plan(
        cut=last if cut is None else cut,
        head_structure=head_structure,
        tail_structure=tail_structure,
        merge=merge,
        codec=codec,
        model_id=bundle.model_id,
    )
    _check(plan, bundle)
    factory = EngineFactory(bundle, backend, threads=threads)
    head = HeadStage(bundle, plan, factory.build(head_key(plan)) if plan.cut else None)
    tail = TailStage(bundle, plan, factory.build(tail_key(plan))) if plan.cut < last else None
    predictions = []
    for frame in source:
        predictions.append(_predict(frame, bundle, head, tail))
        if progress is not None:
            progress(len(predictions))
    return Evaluation(plan, bundle.classes, tuple(predictions))


def _check(plan: Plan, bundle: Bundle) -> None:
    """Refuse a plan that this bundle cannot run.

    Raises:
        CodesignError: with what is wrong and what there is.
    """
    last = len(bundle.segments)
    if not 0 <= plan.cut <= last:
        raise CodesignError(f"cut {plan.cut} does not exist: {bundle.name} has cuts 0 to {last}")
    if plan.cut == last:
        return
    for spec in bundle.crossings[plan.cut]:
        usable = codecs_for(spec)
        if plan.codec not in usable:
            raise CodesignError(
                f"codec '{plan.codec}' cannot carry {spec.dtype} '{spec.name}' at cut {plan.cut}; "
                f"usable there: {', '.join(usable)}"
            )


def _predict(
    frame: SourceFrame, bundle: Bundle, head: HeadStage, tail: TailStage | None
) -> Prediction:
    if head.sends_jpeg and frame.encoding == "jpeg" and is_sendable(frame.data, bundle.input):
        sent = head.forward(frame.data)
    else:
        rgb = to_rgb(
            frame.data, frame.encoding, height=frame.height, width=frame.width, step=frame.step
        )
        sent = head.run(letterbox(rgb, bundle.input))
    scores: Scores | None = sent.scores
    if tail is not None:
        scores = tail.run(tail.decode(sent.encoded))
    assert scores is not None
    return Prediction(
        stamp_ns=frame.stamp_ns,
        label=scores.label,
        score=scores.score,
        truth=frame.truth.label if frame.truth is not None else None,
        payload_bytes=sum(tensor.payload_bytes for tensor in sent.encoded),
    )
