"""Results of the command line as tables for people and as plain values for JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table

from codesign_ros.bundle import Bundle
from codesign_ros.console import right, slim_table
from codesign_ros.cost.half_times import HalfTimes
from codesign_ros.cost.profile import NetworkProfile
from codesign_ros.evaluation.classification import recalls
from codesign_ros.evaluation.offline import Evaluation
from codesign_ros.evaluation.operating_point import OVERLAP
from codesign_ros.evaluation.quality import Quality
from codesign_ros.types.codec_names import H264_CODECS, NECK_CODECS
from codesign_ros.types.forms import HalfForm, Part, Structure
from codesign_ros.wire.codecs import FRAME_CODECS

_TITLE_WIDTH = 48  # so that a title is not broken where the table below it is narrow
_NO_TRUTH = "no ground truth"
# Whose sizes are shown.
_CODECS = ("raw", "fp16+zstd", "uint8+zstd", "uint4+zstd", "jpeg")


def evaluation_tables(evaluation: Evaluation) -> list[Table]:
    """What was measured, by the network's task."""
    quality = evaluation.quality
    if quality.task == "classification":
        return [_confusion_table(evaluation.frames, quality)]
    if quality.task == "detection":
        return _precision_tables(evaluation.frames, quality)
    return [slim_table(f"{evaluation.frames} frames; what a network for {quality.task} says has no "
                       "truth to compare with")]  # fmt: skip


def _precision_tables(frames: int, quality: Quality) -> list[Table]:
    """What people see and average precision by class; COCO's by size."""
    metrics, point = quality.detection, quality.shown
    if metrics is None or point is None:
        title = f"{frames} frames, mAP@0.5: {_NO_TRUTH}"
        table = slim_table(title, "class", *right("found"), min_width=_TITLE_WIDTH)
        for name, count in quality.counts().items():
            table.add_row(name, str(count))
        return [table]
    table = slim_table(
        f"{frames} frames, mAP@0.5: {_share(metrics.mean_map50)}, mAP@0.3: "
        f"{_share(metrics.mean_map30)}",
        "class",
        *right("true", "shown", "right", "recall", "precision", "AP@0.3", "AP@0.5"),
        caption=f"shown: boxes of score {point.threshold:g} and above, which people see; right: "
        f"those that overlap a true one by {OVERLAP:g}",
    )
    for name in quality.classes:
        counts = (point.true(name), point.found(name), point.right(name))
        shares = (point.recall(name), point.precision(name))
        averages = (metrics.map30[name], metrics.map50[name])
        table.add_row(name, *map(str, counts), *map(_share, (*shares, *averages)))
    title = "COCO's AP, overlaps 0.5 to 0.95"
    sizes = slim_table(title, "objects", *right("AP"), min_width=_TITLE_WIDTH)
    for key, value in metrics.coco.items():
        _, _, size = key.partition("_")
        sizes.add_row(f"{size or 'all'} objects", _share(value))
    return [table, sizes]


def _confusion_table(frames: int, quality: Quality) -> Table:
    """Confusion by class and accuracy."""
    share = quality.accuracy
    title = f"{frames} frames, accuracy: " + (_NO_TRUTH if share is None else f"{share:.4f}")
    answered = (f"answered {name}" for name in quality.classes)
    table = slim_table(title, "truth", *right(*answered, "right"))
    confusion = quality.confusion
    for name, counts, recall in zip(
        quality.classes, confusion.tolist(), recalls(confusion), strict=True
    ):
        table.add_row(name, *map(str, counts), _share(recall))
    return table


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def profile_json(
    bundle: Bundle, network: NetworkProfile, times: Mapping[Part, HalfTimes]
) -> dict[str, Any]:
    """What each cut that was timed means: work before it, what crosses, and a machine's times.

    The times beside the cut are those of S3, by precision; every form, timed or estimated, stands
    under ``forms``. What codecs make of the frame stands under ``frames``; what a neck makes of the
    cut that has it under ``necks``, its halves' in fp32.
    """
    last = network.segments
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
                "bytes": {
                    codec: size
                    for (at, codec), size in times["head"].codec_bytes.items()
                    if at == cut and codec in _CODECS
                },
            }
            | {
                f"{part}_ms": {
                    form.precision: time_s * 1e3
                    for form, time_s in of.half_s.items()
                    if (form.cut, form.structure, form.neck) == (cut, s3, False)
                }
                for part, of in times.items()
            }
            for cut in sorted({form.cut for form in times["head"].half_s})
        ],
        "frames": [
            _coded(times, 0, codec)
            for codec in (*FRAME_CODECS, *H264_CODECS)
            if (0, codec) in times["head"].codec_s
        ],
        "necks": [
            {
                "cut": neck.cut,
                **_coded(times, neck.cut, codec),
                **{
                    f"{part}_ms": _ms(of.half_s.get(HalfForm(neck.cut, neck=True)))
                    for part, of in times.items()
                },
            }
            for neck in bundle.necks
            for codec in NECK_CODECS[: neck.levels]
        ],
        "forms": [
            {
                "part": part,
                **form._asdict(),
                "ms": time_s * 1e3,
                "measured": form not in of.estimated,
            }
            for part, of in times.items()
            for form, time_s in of.half_s.items()
        ],
    }


def _coded(times: Mapping[Part, HalfTimes], cut: int, codec: str) -> dict[str, Any]:
    """What a codec takes and makes at a cut; None where it was not timed."""
    at = cut, codec
    return {
        "codec": codec,
        "bytes": times["head"].codec_bytes.get(at),
        "bytes_spread": times["head"].codec_spread.get(at),
        "encode_ms": _ms(times["head"].codec_s.get(at)),
        "decode_ms": _ms(times["tail"].codec_s.get(at)),
    }


def _ms(time_s: float | None) -> float | None:
    return None if time_s is None else time_s * 1e3


def necks_table(content: Mapping[str, Any]) -> Table:
    """What each rate level of the necks takes and sends."""
    columns = ("encode_ms", "head_ms", "decode_ms", "tail_ms", "bytes", "bytes_spread")
    table = slim_table(
        "necks: times with encoder and decoder (fp32, S3) and bytes of a calibration frame",
        *(*right("cut"), "codec", *right(*(name.replace("_", " ") for name in columns))),
    )
    for row in content["necks"]:
        table.add_row(str(row["cut"]), row["codec"], *_cells(row, columns))
    return table


def frames_table(content: Mapping[str, Any]) -> Table:
    """What each codec of the frame takes and sends."""
    columns = ("encode_ms", "decode_ms", "bytes", "bytes_spread")
    table = slim_table(
        "cut 0: times of the frame's codecs and bytes of a calibration frame",
        *("codec", *right(*(name.replace("_", " ") for name in columns))),
    )
    for row in content["frames"]:
        table.add_row(row["codec"], *_cells(row, columns))
    return table


def _cells(row: Mapping[str, Any], columns: Sequence[str]) -> Iterator[str]:
    for name in columns:
        digits = 2 if name.endswith("_ms") else 0
        yield "" if row[name] is None else f"{row[name]:.{digits}f}"


def profile_table(content: Mapping[str, Any]) -> Table:
    """The same as a table."""
    halves = [
        (f"{part}_ms", precision)
        for precision in dict.fromkeys(form["precision"] for form in content["forms"])
        for part in ("head", "tail")
    ]
    amounts = (name.replace("_", " ") for name in (*map(" ".join, halves), *_CODECS))
    table = slim_table(
        f"{content['bundle']}: {content['flops']['S3'] / 1e6:.0f} MFLOP folded; this machine's "
        f"times in S3 ({sum(form['measured'] for form in content['forms'])} halves timed, "
        f"{sum(not form['measured'] for form in content['forms'])} scaled), bytes of a "
        "calibration frame",
        *(*right("cut"), "after", *right("before", *amounts, overflow="fold")),
    )
    for row in content["cuts"]:
        times = (row[half].get(precision) for half, precision in halves)
        sizes = (row["bytes"].get(codec) for codec in _CODECS)
        table.add_row(
            str(row["cut"]),
            row["after"],
            f"{row['load_fraction']:.1%}",
            *("" if time_ms is None else f"{time_ms:.2f}" for time_ms in times),
            *("" if size is None else f"{size:.0f}" for size in sizes),
        )
    return table
