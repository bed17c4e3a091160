"""A bag, or any other source, under one plan in one process, and how good the answers are."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from codesign_ros.bundle import Bundle
from codesign_ros.data.frames import SourceFrame
from codesign_ros.engines.factory import DEFAULT_BACKEND, open_backend
from codesign_ros.evaluation.quality import Quality
from codesign_ros.evaluation.replay import ReplayedFrame, Runner
from codesign_ros.pixels.boxes import ALL_SCORES, DISPLAY_THRESHOLD
from codesign_ros.types.codec_names import NECK_CODECS
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import Merge, Structure
from codesign_ros.types.plan import Plan
from codesign_ros.wire.codecs import plannable

# What can be chosen of the plan that is run.
_CHOSEN = ("cut", "head_structure", "tail_structure", "merge", "precision", "codec")


@dataclass(frozen=True)
class Evaluation:
    """Answers for all frames of a source.

    Attributes:
        plan: what was run.
        predictions: one for each frame, in order.
        quality: how good they are.
    """

    plan: Plan
    predictions: tuple[ReplayedFrame, ...]
    quality: Quality

    @property
    def frames(self) -> int:
        """Number of frames."""
        return len(self.predictions)

    def to_json(self) -> dict[str, Any]:
        """Return all of it as plain values for a JSON file.

        Raises:
            CodesignError: the truth names a class that the network does not know.
        """
        plan, task = self.plan, self.quality.task
        confusion = task == "classification"
        return {
            "frames": self.frames,
            "task": task,
            **self.quality.to_json(),
            "classes": list(self.quality.classes),
            "predicted": self.quality.counts(),
            **({"confusion": self.quality.confusion.tolist()} if confusion else {}),
            "plan": {name: getattr(plan, name) for name in _CHOSEN},
            "wire_bytes_per_frame": float(
                np.mean([p.payload_bytes for p in self.predictions] or [0])
            ),
            "predictions": [_prediction_json(p, task) for p in self.predictions],
        }


def _prediction_json(prediction: ReplayedFrame, task: str) -> dict[str, Any]:
    document: dict[str, Any] = {
        "file": None if prediction.file is None else str(prediction.file),
        "stamp_ns": prediction.stamp_ns,
    }
    if task == "classification":
        document["label"] = prediction.answer.label
    elif task == "detection":
        document["detections"] = [vars(box) for box in prediction.answer.detections]
    return document


def evaluate(
    source: Iterable[SourceFrame],
    bundle: Bundle,
    *,
    cut: int | None = None,
    head_structure: Structure = Structure.S3,
    tail_structure: Structure = Structure.S3,
    merge: Merge = Merge.FOLD,
    precision: str = "fp32",
    codec: str = "raw",
    backend: str = DEFAULT_BACKEND,
    threads: int = 1,
    classes: Sequence[str] | None = None,
    display_threshold: float = DISPLAY_THRESHOLD,
    done: Callable[[SourceFrame, ReplayedFrame], None] | None = None,
) -> Evaluation:
    """Run every frame of ``source`` through head, wire and tail under one plan.

    A detector's boxes are those of ``ALL_SCORES``, more than nodes answer.

    Args:
        source: gives the frames; it must have an end.
        bundle: the network.
        cut: 0 to N; None = N, the whole network as the robot runs it alone.
        head_structure: branches that stay in the head's blocks.
        tail_structure: branches that stay in the tail's blocks.
        merge: what becomes of the others.
        precision: one of ``types.forms.PRECISIONS``, of both halves.
        codec: how the tensors at the cut are written; not used at cut N.
        backend: see ``open_backend``.
        threads: threads that one engine may use.
        classes: those of a detector's classes that count; None = all.
        display_threshold: score from which boxes are shown to people.
        done: called after each frame.

    Raises:
        CodesignError: the cut, precision, codec or backend is not known, the codec cannot carry
            what crosses at the cut, or a frame cannot be read.
    """
    plan = Plan(
        cut=bundle.last_cut if cut is None else cut,
        head_structure=head_structure,
        tail_structure=tail_structure,
        merge=merge,
        precision=precision,
        codec=codec,
        model_id=bundle.model_id,
    )
    _check(plan, bundle)
    predictions = []
    with contextlib.closing(
        Runner(bundle, open_backend(bundle, backend, threads=threads), ALL_SCORES)
    ) as runner:
        for frame in source:
            prediction = runner.run(frame, plan)
            if classes is not None:
                prediction = _of_classes(prediction, classes)
            predictions.append(prediction)
            if done is not None:
                done(frame, prediction)
    judged = tuple((prediction.truth, prediction.answer) for prediction in predictions)
    counted = bundle.classes if classes is None else tuple(classes)
    quality = Quality(bundle.task, counted, judged, display_threshold)
    return Evaluation(plan, tuple(predictions), quality)


def _of_classes(prediction: ReplayedFrame, classes: Sequence[str]) -> ReplayedFrame:
    boxes = tuple(box for box in prediction.answer.detections if box.label in classes)
    return replace(prediction, answer=replace(prediction.answer, detections=boxes))


def _check(plan: Plan, bundle: Bundle) -> None:
    """Refuse a plan that this bundle cannot run.

    Raises:
        CodesignError: with what is wrong and what there is.
    """
    last = bundle.last_cut
    if not 0 <= plan.cut <= last:
        raise CodesignError(f"cut {plan.cut} does not exist: {bundle.name} has cuts 0 to {last}")
    if plan.cut == last:
        return
    if plan.has_neck:
        codecs = NECK_CODECS[: bundle.neck(plan.cut).levels]
        if plan.codec not in codecs:
            raise CodesignError(
                f"the neck at cut {plan.cut} has no level '{plan.codec}'; it has: "
                f"{', '.join(codecs)}"
            )
        return
    for spec in bundle.crossings[plan.cut]:
        usable = plannable(spec, plan.cut)
        if plan.codec not in usable:
            raise CodesignError(
                f"codec '{plan.codec}' cannot carry {spec.dtype} '{spec.name}' at cut {plan.cut}; "
                f"usable there: {', '.join(usable)}"
            )
