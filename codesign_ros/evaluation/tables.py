"""Results of the command line as tables for people and as plain values for JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from codesign_ros.bundle import Bundle
from codesign_ros.console import slim_table
from codesign_ros.cost.half_times import StageProfile
from codesign_ros.cost.profile import NetworkProfile
from codesign_ros.evaluation.classification import recalls
from codesign_ros.evaluation.offline import Evaluation
from codesign_ros.evaluation.quality import Quality
from codesign_ros.types import Structure

_NO_TRUTH = "no ground truth"


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


def profile_json(
    bundle: Bundle, network: NetworkProfile, head: StageProfile, tail: StageProfile
) -> dict[str, Any]:
    """What each cut that was timed means: work before it, what crosses, and a machine's times.

    The times beside the cut are those of S3 in fp32; other precisions of S3 that were timed stand
    beside them, and every form, timed or estimated, under ``forms``.
    """
    last = network.segments
    codecs = ("raw", "fp16+zstd", "uint8+zstd", "uint4+zstd", "jpeg")
    parts = {"head": head, "tail": tail}
    s3 = Structure.S3
    return {
        "bundle": bundle.name,
        "model_id": bundle.model_id,
        "flops": {s.value: network.flops(0, last, s) for s in network.segment_flops},
        "cuts": [
            {
                "cut": cut,
                "after": "image" if cut == 0 else bundle.segments[cut - 1],
                "load_fraction": network.load_fraction(cut, s3),
                "head_ms": head.stage_s[cut, s3] * 1e3,
                "tail_ms": tail.stage_s[cut, s3] * 1e3,
                "bytes": {
                    c: head.codec_bytes[cut, c] for c in codecs if (cut, c) in head.codec_bytes
                },
                "precisions": {
                    f"{part}_ms {precision}": 1e3 * time_s
                    for part, profile in parts.items()
                    for (at, structure, precision), time_s in profile.precision_s.items()
                    if (at, structure) == (cut, s3)
                },
            }
            for cut in sorted({cut for cut, _ in head.stage_s})
        ],
        "forms": [
            {
                "part": part,
                "cut": cut,
                "structure": structure.value,
                "precision": precision,
                "ms": time_s * 1e3,
                "measured": (cut, structure, precision) not in profile.estimated,
            }
            for part, profile in parts.items()
            for (cut, structure, precision), time_s in profile.halves().items()
        ],
    }


def profile_table(content: Mapping[str, Any]) -> Table:
    """The same as a table."""
    table = slim_table(
        f"{content['bundle']}: {content['flops']['S3'] / 1e6:.0f} MFLOP folded; this machine's "
        f"times in S3 ({sum(form['measured'] for form in content['forms'])} halves timed, "
        f"{sum(not form['measured'] for form in content['forms'])} scaled), bytes of a "
        "calibration frame"
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
