"""Results of the command line as tables for people and as plain values for JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table

from codesign_ros.bundle import Bundle
from codesign_ros.cost.profile import NetworkProfile
from codesign_ros.evaluation.metrics import recalls
from codesign_ros.evaluation.offline import Evaluation
from codesign_ros.evaluation.quality import Quality
from codesign_ros.planning.solvers import Row, Solution
from codesign_ros.runtime.profiling import StageProfile
from codesign_ros.types import Merge, Structure

_NO_TRUTH = "no ground truth"


def slim_table(title: str, **options: Any) -> Table:
    """An empty table that stays readable on 80 columns."""
    return Table(title=title, title_justify="left", box=box.SIMPLE, padding=(0, 1, 0, 0), **options)


def evaluation_table(evaluation: Evaluation) -> Table:
    """What was measured, by the network's task."""
    quality = evaluation.quality
    tables = {"classification": _confusion_table, "detection": _precision_table}
    if quality.task in tables:
        return tables[quality.task](evaluation.frames, quality)
    return slim_table(f"{evaluation.frames} frames; what a network for {quality.task} says has no "
                      "truth to compare with")  # fmt: skip


def _precision_table(frames: int, quality: Quality) -> Table:
    """Average precision by class and by size."""
    metrics = quality.detection
    mean = metrics.mean_map50 if metrics else None
    title = f"{frames} frames, mAP@0.5: " + (_NO_TRUTH if mean is None else f"{mean:.4f}")
    table = slim_table(title)
    table.add_column("average precision of")
    table.add_column("found", justify="right")
    table.add_column("overlap")
    table.add_column("AP", justify="right")
    counts = quality.counts()
    map50 = metrics.map50 if metrics else dict.fromkeys(quality.classes)
    for name in quality.classes:
        table.add_row(name, str(counts[name]), "0.5", _share(map50[name]))
    for key, value in metrics.coco.items() if metrics else ():
        _, _, size = key.partition("_")
        table.add_row(f"{size or 'all'} objects", "", "0.5 to 0.95", _share(value))
    return table


def _confusion_table(frames: int, quality: Quality) -> Table:
    """Confusion by class and accuracy."""
    share = quality.accuracy
    title = f"{frames} frames, accuracy: " + (_NO_TRUTH if share is None else f"{share:.4f}")
    table = slim_table(title)
    table.add_column("truth")
    for name in quality.classes:
        table.add_column(f"answered {name}", justify="right")
    table.add_column("right", justify="right")
    confusion = quality.confusion
    for name, counts, right in zip(
        quality.classes, confusion.tolist(), recalls(confusion), strict=True
    ):
        table.add_row(name, *map(str, counts), _share(right))
    return table


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def solution_table(solution: Solution, top: int) -> Table:
    """The best plan of the ``top`` best cuts, and always those of device-only and server-only."""
    table = slim_table("Best plan of each cut (predicted, not run)")
    for name in ("cut", "head", "tail", "codec"):
        table.add_column(name)
    for name in ("T1 ms", "T3 ms", "T2 ms", "sum", "bytes", "loss", "L"):
        table.add_column(name, justify="right")
    rows = _best_of_each_cut(solution)
    simple = (0, solution.problem.cost.segments)
    for row in rows[:top] + [row for row in rows[top:] if row.candidate.cut in simple]:
        c, p = row.candidate, row.prediction
        table.add_row(
            _cut_name(solution, c.cut),
            _structure_name(c.head_structure, c.merge),
            _structure_name(c.tail_structure, c.merge),
            c.codec,
            *(f"{t * 1e3:.1f}" for t in (p.head_s, p.link_s, p.tail_s)),
            f"{(p.head_s + p.link_s + p.tail_s) * 1e3:.1f}",
            f"{p.payload_bytes:.0f}",
            f"{p.accuracy_loss:.4f}",
            f"{p.objective:.4f}",
        )
    return table


def solution_json(solution: Solution) -> dict[str, Any]:
    """The best plan, the two simple policies, and the best plan of each cut."""
    named = {"device_only": solution.device_only, "server_only": solution.server_only}
    return {
        "plan": _row_json(solution.rows[0]),
        **{name: None if row is None else _row_json(row) for name, row in named.items()},
        "by_cut": [_row_json(row) for row in _best_of_each_cut(solution)],
    }


def profile_json(
    bundle: Bundle, network: NetworkProfile, times: Mapping[str, StageProfile]
) -> dict[str, Any]:
    """What each cut means: work before it, what crosses, and this machine's times in S3.

    The times are those of fp32; other precisions that were timed stand beside them.
    """
    last = network.segments
    codecs = ("raw", "fp16+zstd", "uint8+zstd", "uint4+zstd", "jpeg")
    sizes = times["head"].codec_bytes
    return {
        "bundle": bundle.name,
        "model_id": bundle.model_id,
        "flops": {s.value: network.flops(0, last, s) for s in Structure},
        "cuts": [
            {
                "cut": cut,
                "after": "image" if cut == 0 else bundle.segments[cut - 1],
                "load_fraction": network.load_fraction(cut, Structure.S3),
                "head_ms": times["head"].stage_s[cut, Structure.S3] * 1e3,
                "tail_ms": times["tail"].stage_s[cut, Structure.S3] * 1e3,
                "bytes": {c: sizes[cut, c] for c in codecs if (cut, c) in sizes},
                "precisions": {
                    f"{part}_ms {precision}": 1e3 * time_s
                    for part, profile in times.items()
                    for (at, precision), time_s in profile.precision_s.items()
                    if at == cut
                },
            }
            for cut in range(last + 1)
        ],
    }


def profile_table(content: Mapping[str, Any]) -> Table:
    """The same as a table."""
    table = slim_table(
        f"{content['bundle']}: {content['flops']['S3'] / 1e6:.0f} MFLOP folded; times of this "
        "machine, bytes of a calibration frame"
    )
    codecs = ("raw", "fp16+zstd", "uint8+zstd", "uint4+zstd", "jpeg")
    others = list(dict.fromkeys(name for row in content["cuts"] for name in row["precisions"]))
    table.add_column("cut", justify="right")
    table.add_column("after")
    for name in ("before", "head ms", "tail ms", *others, *codecs):
        table.add_column(name.replace("_", " "), justify="right", overflow="fold")
    for row in content["cuts"]:
        times = (row["precisions"].get(name) for name in others)
        sizes = (row["bytes"].get(codec) for codec in codecs)
        table.add_row(
            str(row["cut"]),
            row["after"],
            f"{row['load_fraction']:.1%}",
            f"{row['head_ms']:.2f}",
            f"{row['tail_ms']:.2f}",
            *("" if time_ms is None else f"{time_ms:.2f}" for time_ms in times),
            *("" if size is None else f"{size:.0f}" for size in sizes),
        )
    return table


def _best_of_each_cut(solution: Solution) -> list[Row]:
    best: dict[int, Row] = {}
    for row in solution.rows:
        best.setdefault(row.candidate.cut, row)
    return list(best.values())


def _cut_name(solution: Solution, cut: int) -> str:
    if cut == 0:
        return "0 server"
    return f"{cut} robot" if cut == solution.problem.cost.segments else str(cut)


def _structure_name(structure: Structure, merge: Merge) -> str:
    return structure.value if merge is Merge.FOLD else f"{structure.value} {merge.value}"


def _row_json(row: Row) -> dict[str, Any]:
    c, p = row.candidate, row.prediction
    return {
        "cut": c.cut,
        "head_structure": c.head_structure.value,
        "tail_structure": c.tail_structure.value,
        "merge": c.merge.value,
        "precision": c.precision,
        "codec": c.codec,
        "head_s": p.head_s,
        "link_s": p.link_s,
        "tail_s": p.tail_s,
        "latency_s": p.head_s + p.link_s + p.tail_s,
        "accuracy_loss": p.accuracy_loss,
        "payload_bytes": p.payload_bytes,
        "objective": p.objective,
    }
