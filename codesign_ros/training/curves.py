"""Learning curves in a bundle: as JSON and as a picture."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from codesign_ros.types.errors import CodesignError

CURVE_FILE, CURVE_PICTURE = "training.json", "training.png"
"""Names of the files in the bundle."""

_COLUMNS = 2
_PANEL_INCHES = (5.0, 2.6)


def write_curves(bundle: Path, document: Mapping[str, Any]) -> None:
    """Write how a bundle was trained, as JSON."""
    text = json.dumps(document, indent=1) + "\n"
    (bundle / CURVE_FILE).write_text(text, encoding="utf-8")


def draw_curves(
    path: Path, panels: Mapping[str, Mapping[str, Sequence[tuple[int, float]]]], title: str
) -> None:
    """Draw curves over the training steps.

    Args:
        path: PNG file to write.
        panels: for each panel (its name is the label of its y axis) curves by name; a curve is a
            list of (step, value).
        title: over the whole picture.

    Raises:
        CodesignError: the file cannot be written.
    """
    from matplotlib.figure import Figure  # takes a second, and only this needs it

    rows = -(-len(panels) // _COLUMNS)
    figure = Figure((_COLUMNS * _PANEL_INCHES[0], rows * _PANEL_INCHES[1]), layout="constrained")
    axes = figure.subplots(rows, _COLUMNS, squeeze=False).flatten()
    for axis, (label, curves) in zip(axes, panels.items(), strict=False):
        for name, points in curves.items():
            steps, values = zip(*points, strict=True) if points else ((), ())
            axis.plot(steps, values, label=name, marker="." if len(points) < 30 else None)
        axis.set_xlabel("step")
        axis.set_ylabel(label)
        axis.grid(alpha=0.3)
        if len(curves) > 1:
            axis.legend(frameon=False, fontsize="small")
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    figure.suptitle(title)
    try:
        figure.savefig(path, dpi=120)
    except OSError as error:
        raise CodesignError(f"cannot write {path}: {error.strerror}") from None
