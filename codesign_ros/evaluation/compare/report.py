"""A comparison as a table for people and as plain values for JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Column, Table

from codesign_ros.console import link_rate, right, slim_table
from codesign_ros.evaluation.compare.advice import Advice
from codesign_ros.evaluation.compare.fronts import fronts, losses
from codesign_ros.evaluation.compare.rooflines import Rooflines
from codesign_ros.evaluation.compare.run import GROUND_TRUTH, refusals
from codesign_ros.evaluation.compare.summary import Summary
from codesign_ros.planning.grid import Solution

SIMULATED = (
    "simulated: the link, the queues and the time of each stage; real: every answer and every "
    "payload, by the network's halves and codecs on these frames"
)
IN_TIME = "in time: over all frames, where one that is late or lost has no answer"
# Fields of a setting that say how it came about: one key of the JSON says it.
_HOW = ("is_run", "how")
_METRICS = {"detection": "mAP@0.5", "classification": "accuracy"}


@dataclass(frozen=True)
class Setting:
    """What was compared under which conditions.

    Attributes:
        source: bag or other source, as it was named.
        topic: its image topic; empty where it has none.
        bundle: the network's name.
        model_id: what it is exactly.
        task: what it does.
        frames: how many.
        truth_is: what answers are held against.
        arrivals: when frames came, in words.
        link: the link, in words.
        times: where the times of robot and server come from, in words.
        objective: which time counted.
        deadline_ms: what a response may take [ms].
        notes: what was estimated or left out, a line each.
        is_run: whether real nodes ran.
        how: how it came about, in words.
    """

    source: str
    topic: str
    bundle: str
    model_id: str
    task: str
    frames: int
    truth_is: str
    arrivals: str
    link: str
    times: str
    objective: str
    deadline_ms: float
    notes: tuple[str, ...] = ()
    is_run: bool = False
    how: str = SIMULATED

    @property
    def metric(self) -> str:
        """What the accuracy is called."""
        name = _METRICS.get(self.task, "accuracy")
        return name if self.truth_is == GROUND_TRUTH else f"{name} against {self.truth_is}"


def comparison_json(
    setting: Setting,
    summaries: Sequence[Summary],
    unavailable: dict[str, str],
    advice: Advice,
    sweep: list[dict[str, Any]],
    roofs: Rooflines | None = None,
) -> dict[str, Any]:
    """All of it; of a simulation nothing depends on when or how fast it was worked out."""
    said = {name: value for name, value in vars(setting).items() if name not in _HOW}
    return {
        **said,
        "notes": list(setting.notes),
        "metric": setting.metric,
        "run" if setting.is_run else "simulated": setting.how,
        "advice": advice.to_json(),
        "fronts": {name: front.to_json() for name, front in fronts(summaries).items()},
        "policies": {each.policy: each.to_json() for each in summaries},
        "unavailable": unavailable,
        "best_of_each_cut": sweep,
        "rooflines": None if roofs is None else roofs.to_json(),
    }


def sweep_json(solution: Solution) -> list[dict[str, Any]]:
    """The best plan of each cut, as predicted, by cut."""
    rows = sorted(solution.best_of_each_cut(), key=lambda row: row.candidate.cut)
    return [
        {
            "cut": row.candidate.cut,
            "codec": row.candidate.codec,
            "robot_ms": 1e3 * row.prediction.head_s,
            "link_ms": 1e3 * row.prediction.link_s,
            "server_ms": 1e3 * row.prediction.tail_s,
            "payload_bytes": row.prediction.payload_bytes,
        }
        for row in rows
    ]


def comparison_table(setting: Setting, summaries: Sequence[Summary], advice: Advice) -> Table:
    """One row a policy, the advised one marked."""
    metric = setting.metric.partition(" ")[0]
    columns = [
        "frames/s",
        "p50 ms",
        "p95 ms",
        "lost",
        "late",
        "kB/frame",
        metric,
        "in time",
        "plans",
    ]
    table = slim_table(
        f"{setting.source}: {setting.frames} frames, {setting.arrivals}, {setting.link}\n"
        f"{setting.times}\n{setting.how}",
        Column("policy", no_wrap=True),
        *right(*columns),
        Column("last plan"),
    )
    for each in summaries:
        table.add_row(
            f"{each.policy} *" if each.policy == advice.policy else each.policy,
            f"{each.throughput_fps:.1f}",
            *(f"{each.response_ms[p]:.0f}" for p in ("p50", "p95")),
            f"{each.lost:.1%}",
            f"{each.late:.1%}",
            f"{each.payload_bytes / 1e3:.1f}",
            *(accuracy_words(value) for value in (each.accuracy, each.accuracy_in_time)),
            str(len(each.plans)),
            each.plans[-1].words,
        )
    return table


def accuracy_words(value: float | None) -> str:
    """An accuracy, or that it is not known."""
    return "-" if value is None else f"{value:.3f}"


def lines(
    setting: Setting, summaries: Sequence[Summary], unavailable: dict[str, str], advice: Advice
) -> list[str]:
    """What stands below the table."""
    said = [f"* use {advice.policy}: {advice.reasons[0]}"]
    said += [f"  {reason}" for reason in advice.reasons[1:]]
    said.append(advice.rule)
    said += losses(fronts(summaries))
    said.append(f"answers are held against {setting.truth_is}; {IN_TIME}")
    return [*said, *refusals(unavailable), *setting.notes]


def link_words(name: str, mean_bps: float, delay_s: float, how: str) -> str:
    """The simulated link, in words."""
    delay = f", {1e3 * delay_s:g} ms each way" if delay_s else ""
    return f"link {name} ({how}{link_rate(mean_bps)}{delay})"
