"""What a run of the demo comes to: counts, times and plans, as JSON and as tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Column, Table

from codesign_ros.console import right, slim_table
from codesign_ros.demo.trials import Trial
from codesign_ros.evaluation.quality import Quality
from codesign_ros.evaluation.replay import ReplayedFrame, is_same
from codesign_ros.runtime.answers import answer_of
from codesign_ros.runtime.messages import Result, Status, known_responses_s
from codesign_ros.types.boxes import GroundTruth
from codesign_ros.types.plan import Plan

# What the report says of an epoch's plan, as the plan has it; None where there was no plan yet.
_CHOSEN = ("cut", "head_structure", "tail_structure", "merge", "codec", "link_bps")


@dataclass(frozen=True)
class Recording:
    """All that was seen of a run.

    Attributes:
        frames: frames that the camera sent.
        results: results in order of arrival, with their times [s, monotonic].
        plans: plans in order, the epoch-0 plan of the robot alone not among them.
        truths: what is truly in a frame by its stamp [ns].
        task: what the network does, one of ``bundle.description.TASKS``.
        classes: names of its classes.
        trials: what simple policies and ours reached at the start.
        one_process: each frame's answer in one process under the plan that it had here, in order;
            empty where there is not one result for each frame.
        emulation: what was emulated, by name.
    """

    frames: int
    results: Sequence[tuple[float, Result]]
    plans: Sequence[Plan]
    truths: Mapping[int, GroundTruth]
    task: str
    classes: tuple[str, ...]
    trials: Sequence[Trial] = ()
    one_process: Sequence[ReplayedFrame] = ()
    emulation: Mapping[str, float] = field(default_factory=dict)


def summarise(recording: Recording) -> dict[str, Any]:
    """Work out the report of a run.

    Frames are known by their stamps. ``lost`` counts frames without an answer, those that were
    dropped with a reason among them; ``duplicated`` counts results beyond the first of a frame;
    ``out_of_order`` counts results that came after one of a later frame.
    """
    answers = [result for _, result in recording.results]
    stamps = [answer.stamp.stamp_ns for answer in answers]
    distinct = set(stamps)
    good = [answer for answer in answers if answer.status is Status.OK]
    dropped = Counter(a.reason for a in answers if a.status is Status.DROPPED)
    response_ms = np.array(known_responses_s(good)) * 1e3
    times = [time_s for time_s, _ in recording.results]
    duration_s = times[-1] - times[0] if len(times) > 1 else 0.0
    return {
        "frames": recording.frames,
        "results": len(answers),
        "lost": recording.frames - len({answer.stamp.stamp_ns for answer in good}),
        "dropped": dict(dropped),
        "duplicated": len(stamps) - len(distinct),
        "out_of_order": sum(b < a for a, b in pairwise(stamps)),
        "throughput_fps": (len(times) - 1) / duration_s if duration_s else 0.0,
        "response_ms": {
            f"p{p}": float(np.percentile(response_ms, p)) if len(response_ms) else None
            for p in (50, 95, 99)
        },
        "wire_bytes_per_frame": float(np.mean([a.payload_bytes for a in good])) if good else 0.0,
        **_quality(recording, good),
        "finished_by": dict(Counter(answer.finished_by for answer in good)),
        "epochs": _epochs(recording),
        "one_process": _one_process(recording),
        "policies": [
            {
                "policy": trial.policy,
                "cut": trial.plan.cut if trial.plan else None,
                "codec": trial.plan.codec if trial.plan else None,
                "frames": trial.frames,
                "throughput_fps": trial.frames_s,
                "throughput_fps_predicted": _predicted_fps(trial.plan),
                "response_ms_p50": None if trial.response_s is None else trial.response_s * 1e3,
                "wire_bytes_per_frame": trial.payload_bytes,
            }
            for trial in recording.trials
        ],
        "emulation": dict(recording.emulation),
        "predictions": [_prediction_json(answer, recording.task) for answer in answers],
    }


def _predicted_fps(plan: Plan | None) -> float | None:
    """Frames a second at the pace of the slowest of robot, link and server."""
    if plan is None:
        return None
    occupancy_s = 8 * plan.payload_bytes / plan.link_bps if plan.link_bps > 0 else 0.0
    slowest_s = max(plan.head_s, occupancy_s, plan.tail_s)
    return 1 / slowest_s if slowest_s > 0 else None


def _quality(recording: Recording, good: Sequence[Result]) -> dict[str, Any]:
    judged = ((recording.truths.get(a.stamp.stamp_ns), answer_of(a)) for a in good)
    return Quality(recording.task, recording.classes, tuple(judged)).to_json()


def _one_process(recording: Recording) -> dict[str, Any] | None:
    """How good the same frames were in one process, and how many had the same answer here."""
    if not recording.one_process:
        return None
    judged = tuple((p.truth, p.answer) for p in recording.one_process)
    pairs = zip(answers_by_frame(recording.results), recording.one_process, strict=True)
    return {
        **Quality(recording.task, recording.classes, judged).to_json(),
        "equal_predictions": sum(
            result.status is Status.OK and is_same(answer_of(result), prediction.answer)
            for result, prediction in pairs
        ),
    }


def _prediction_json(result: Result, task: str) -> Any:
    return [vars(box) for box in result.detections] if task == "detection" else result.label


def answers_by_frame(results: Sequence[tuple[float, Result]]) -> list[Result]:
    """The first result of each frame, in frame order; ``results`` come with their times."""
    first: dict[int, Result] = {}
    for _, result in results:
        first.setdefault(result.stamp.stamp_ns, result)
    return [first[stamp] for stamp in sorted(first)]


def is_complete(summary: Mapping[str, Any]) -> bool:
    """Whether every frame has exactly one result, in order."""
    wrong = ("lost", "duplicated", "out_of_order")
    return summary["results"] == summary["frames"] > 0 and not any(summary[key] for key in wrong)


def _epochs(recording: Recording) -> list[dict[str, Any]]:
    plans = {plan.epoch: plan for plan in recording.plans}
    frames = Counter(answer.epoch for _, answer in recording.results)
    first: dict[int, float] = {}
    last_before: dict[int, float] = {}
    previous_s: float | None = None
    for time_s, answer in recording.results:
        if answer.epoch not in first:
            first[answer.epoch] = time_s
            last_before[answer.epoch] = time_s if previous_s is None else previous_s
        previous_s = time_s
    rows = []
    for epoch in sorted(plans.keys() | frames.keys()):
        plan = plans.get(epoch)
        pause_s = first[epoch] - last_before[epoch] if epoch in first else 0.0
        rows.append(
            {
                "epoch": epoch,
                **{name: getattr(plan, name, None) for name in _CHOSEN},
                "served_by": plan.served_by if plan else "",
                "reason": plan.reason if plan else "no plan yet: all on the robot",
                "latency_ms_predicted": plan.latency_s * 1e3 if plan else None,
                "frames": frames[epoch],
                "pause_ms": pause_s * 1e3,
            }
        )
    return rows


def print_report(summary: Mapping[str, Any], console: Console) -> None:
    """Print the report as tables."""
    console.print(_epoch_table(summary))
    console.print(_figures_table(summary))
    if summary["policies"]:
        console.print(_policy_table(summary))


def _epoch_table(summary: Mapping[str, Any]) -> Table:
    table = slim_table(
        "Plans in force",
        *(*right("epoch", "cut"), "codec", "served by"),
        *(*right("frames", "pause ms", "expected ms"), Column("reason", overflow="fold")),
    )
    for row in summary["epochs"]:
        predicted = row["latency_ms_predicted"]
        table.add_row(
            str(row["epoch"]),
            "-" if row["cut"] is None else str(row["cut"]),
            row["codec"] or "-",
            row["served_by"].rpartition("/")[2] or "robot",
            str(row["frames"]),
            f"{row['pause_ms']:.0f}",
            "-" if predicted is None else f"{predicted:.1f}",
            row["reason"],
        )
    return table


def _figures_table(summary: Mapping[str, Any]) -> Table:
    table = slim_table("This run", "what", "figure", show_header=False)
    response = summary["response_ms"]
    percentiles = [f"{k} {v:.1f}" for k, v in response.items() if v is not None]
    table.add_row("frames sent, results", f"{summary['frames']}, {summary['results']}")
    table.add_row(
        "lost, duplicated, out of order",
        f"{summary['lost']}, {summary['duplicated']}, {summary['out_of_order']}",
    )
    for reason, count in summary["dropped"].items():
        table.add_row("dropped", f"{count}: {reason}")
    table.add_row("throughput", f"{summary['throughput_fps']:.1f} frames/s")
    table.add_row("response", f"{', '.join(percentiles) or '-'} ms")
    table.add_row("on the wire", f"{summary['wire_bytes_per_frame']:.0f} bytes a frame")
    finished = ", ".join(f"{who} {count}" for who, count in summary["finished_by"].items())
    table.add_row("finished by", finished or "-")
    split = sum(row["frames"] for row in summary["epochs"] if _is_split(row))
    never = "0: by the cost model, splitting gained nothing here"
    table.add_row("frames under a split plan", str(split) if split else never)
    alone = summary.get("one_process")
    for name, key in (("accuracy", "accuracy"), ("mAP@0.5", "map50"), ("COCO AP", "coco")):
        if key in summary:
            table.add_row(name, _quality_text(summary[key]))
        if alone and key in alone:
            table.add_row(f"{name} in one process", _quality_text(alone[key]))
    if "one_process" in summary:
        compared = "not compared: frames are missing"
        if alone:
            compared = f"{alone['equal_predictions']} of {summary['results']} frames"
        table.add_row("same answer as in one process", compared)
    return table


def _quality_text(value: float | Mapping[str, float | None] | None) -> str:
    if value is None:
        return "no ground truth"
    if isinstance(value, float):
        return f"{value:.4f}"
    return ", ".join(f"{k} {'-' if v is None else f'{v:.4f}'}" for k, v in value.items())


def _is_split(row: Mapping[str, Any]) -> bool:
    """Whether an epoch's plan gives both sides a part of the network."""
    return bool(row["cut"] and row["served_by"])


def _policy_table(summary: Mapping[str, Any]) -> Table:
    emulated = ", ".join(f"{name} {value:g}" for name, value in summary["emulation"].items())
    table = slim_table(
        "Policies on these nodes, one after the other at the start "
        f"({f'emulated: {emulated}' if emulated else 'nothing emulated'})",
        *("policy", *right("cut"), "codec"),
        *right("frames", "frames/s", "predicted", "p50 ms", "bytes a frame"),
    )
    for row in summary["policies"]:
        predicted = row["throughput_fps_predicted"]
        table.add_row(
            row["policy"],
            "-" if row["cut"] is None else str(row["cut"]),
            row["codec"] or "-",
            str(row["frames"]),
            f"{row['throughput_fps']:.1f}",
            "-" if predicted is None else f"{predicted:.1f}",
            "-" if row["response_ms_p50"] is None else f"{row['response_ms_p50']:.0f}",
            f"{row['wire_bytes_per_frame']:.0f}",
        )
    return table
