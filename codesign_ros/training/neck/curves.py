"""How a neck was trained and what it gives: as JSON and as a picture."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from codesign_ros.neck_file import NeckInfo
from codesign_ros.types.errors import CodesignError

_PANEL_INCHES = (5.0, 3.2)


def write_neck_curves(bundle: Path, neck: NeckInfo, document: Mapping[str, Any]) -> None:
    """Write how a neck was trained, as JSON."""
    text = json.dumps(document, indent=1) + "\n"
    (bundle / f"neck_{neck.cut}.json").write_text(text, encoding="utf-8")


def draw_neck(bundle: Path, neck: NeckInfo, document: Mapping[str, Any], metric: str) -> None:
    """Draw bytes against accuracy, and how both came.

    Raises:
        CodesignError: the file cannot be written.
    """
    from matplotlib.figure import Figure  # takes a second, and only this needs it

    figure = Figure((3 * _PANEL_INCHES[0], _PANEL_INCHES[1]), layout="constrained")
    rate, course, errors = figure.subplots(1, 3)
    measured = [*document["measured"], {"levels": document["levels"]}]
    for number, each in enumerate(measured):
        last = number == len(measured) - 1
        rate.plot(
            [point["bytes"] / 1e3 for point in each["levels"]],
            [100 * point[metric] for point in each["levels"]],
            marker="o" if last else ".",
            color="C0",
            alpha=1.0 if last else 0.25,
            label="trained" if last else None,
        )
    rate.axhline(100 * document["without"][metric], color="0.4", ls="--", label="without a neck")
    rate.set_xscale("log")
    rate.set_xlabel("kB a frame")
    rate.set_ylabel(f"{metric} [%]")
    curve = document["curve"]
    steps = [point["step"] for point in curve]
    for level in range(neck.levels):
        points = [(each["step"], each["levels"][level]["bytes"]) for each in document["measured"]]
        if points:
            course.plot(*zip(*points, strict=True), marker=".", label=f"level {level}")
    course.set_yscale("log")
    course.set_xlabel("step")
    course.set_ylabel("bytes a frame")
    for name in ("map_error", "answer_error", "loss"):
        errors.plot(steps, [point[name] for point in curve], label=name.replace("_", " "))
    errors.set_yscale("log")
    errors.set_xlabel("step")
    errors.set_ylabel("distance from the network")
    for axis in (rate, course, errors):
        axis.grid(alpha=0.3, which="both")
        if axis.get_legend_handles_labels()[0]:
            axis.legend(frameon=False, fontsize="small")
    figure.suptitle(f"{bundle.name}: neck at cut {neck.cut}, {document['trained_on']}")
    file = bundle / f"neck_{neck.cut}.png"
    try:
        figure.savefig(file, dpi=120)
    except OSError as error:
        raise CodesignError(f"cannot write {file}: {error.strerror}") from None
