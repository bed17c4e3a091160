"""An explanation as pictures, in the manner of the paper's Fig. 9, 10 and 11."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from matplotlib import colormaps

from codesign_ros.explain.class_activation import ClassActivation, on_frame, resized
from codesign_ros.explain.explanation import Explanation, counted
from codesign_ros.explain.feature_maps import FeatureMaps, most_varied
from codesign_ros.explain.sheets import Panel, Scale, sheet, stack
from codesign_ros.explain.structures import FOLDED
from codesign_ros.pixels.drawing import COLOURS, draw_boxes
from codesign_ros.types.boxes import Box
from codesign_ros.types.errors import CodesignError

# The longer side of a picture on a sheet [px].
_SMALLEST, _LARGEST = 640, 960
_GRID_COLUMNS, _GRID_ROWS = 4, 4
_CELL_PX = 160
_HEAT_COLOURS, _MAP_COLOURS = "inferno", "viridis"


def write_pictures(explanation: Explanation, folder: Path) -> dict[str, Path]:
    """Draw an explanation and write one PNG for each figure and one with all of them.

    Args:
        explanation: what to draw.
        folder: made if it is not there; files of the same names are replaced.

    Returns:
        Files by what is in them: ``answers``, ``class_activation``, ``feature_maps``, ``necks``,
        as far as they apply, and ``overview``.

    Raises:
        CodesignError: the folder cannot be made or written to, or nothing can be drawn.
    """
    sheets = {}
    if explanation.answers:
        sheets["answers"] = answers_sheet(explanation)
    if explanation.activations:
        sheets["class_activation"] = activation_sheet(explanation)
    if explanation.feature_maps:
        sheets["feature_maps"] = maps_sheet(explanation)
    if explanation.necks:
        sheets["necks"] = necks_sheet(explanation)
    if not sheets:
        raise CodesignError(
            f"there is nothing to draw of {explanation.bundle.name}: {'; '.join(explanation.notes)}"
        )
    sheets["overview"] = stack(list(sheets.values()))
    files = {name: folder / f"{name}.png" for name in sheets}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, picture in sheets.items():
            _, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
            files[name].write_bytes(data.tobytes())
    except OSError as error:
        raise CodesignError(f"cannot write to {folder}: {error.strerror}") from None
    return files


def answers_sheet(explanation: Explanation) -> np.ndarray:
    """Draw what the structures answer, beside the truth where it is known (Fig. 9).

    ``FOLDED`` answers as ``WITH`` does and is left out.
    """
    truth = explanation.scene.truth
    panels = []
    if truth is not None:
        caption = f"truth: {truth.label}; {counted(truth.boxes)}"
        panels.append(Panel(_with_boxes(explanation, truth.boxes, scores=False), caption))
    shown = [answer for answer in explanation.answers if answer.variant is not FOLDED]
    if explanation.is_detection:
        panels += [
            Panel(
                _with_boxes(explanation, answer.boxes),
                f"{answer.variant.name}: {explanation.said(answer)}\n{answer.variant.meaning}",
            )
            for answer in shown
        ]
        return sheet(f"Detections: {_subject(explanation)}", [panels])
    said = "\n".join(
        f"{answer.variant.name}: {explanation.said(answer)}\n({answer.variant.meaning})"
        for answer in shown
    )
    panels.append(Panel(_shown(explanation), said))
    return sheet(f"Classification: {_subject(explanation)}", [panels])


def activation_sheet(explanation: Explanation) -> np.ndarray:
    """Draw where the score of the class comes from, in each structure (Fig. 10)."""
    first = explanation.activations[0].heat
    panels = []
    for answer, activation in zip(explanation.answers, explanation.activations, strict=True):
        caption = f"{answer.variant.name}: {answer.variant.meaning}"
        if activation.heat is not first:
            away = np.abs(activation.heat - first).max() / max(float(first.max()), 1e-30)
            total = activation.heat.sum() / max(float(first.sum()), 1e-30)
            caption += f"\n{total:.3g} times the first's heat; differs from it by up to "
            caption += f"{100 * away:.3g} % of its highest value"
        caption += f"\n{_heat_words(explanation, activation)}"
        panels.append(Panel(_heated(explanation, activation), caption))
    title = (
        f"Class activation (HiResCAM) for '{explanation.label}', maps after segment "
        f"{explanation.activation_segment}: {_subject(explanation)}"
    )
    scale = Scale(_HEAT_COLOURS, 0.0, 1.0, "heat, share of each map's highest")
    return sheet(title, [panels], scale)


def maps_sheet(explanation: Explanation) -> np.ndarray:
    """Draw the channels with the largest variance, the same in each structure (Fig. 11)."""
    last = explanation.feature_maps[-1]
    channels = most_varied(last, _GRID_COLUMNS * _GRID_ROWS)
    shown = [each.maps[channels] for each in explanation.feature_maps]
    low, high = min(float(m.min()) for m in shown), max(float(np.quantile(m, 0.999)) for m in shown)
    panels = [
        Panel(colour_grid(maps, low, high), _maps_caption(each))
        for each, maps in zip(explanation.feature_maps, shown, strict=True)
    ]
    names = ", ".join(map(str, channels))
    title = (
        f"Feature maps of segment {explanation.maps_segment}, made from the same input; channels "
        f"{names} (largest variance of {len(last.maps)}): {_subject(explanation)}"
    )
    return sheet(
        title,
        [panels],
        Scale(_MAP_COLOURS, low, high, "activation, cut off at 99.9 % of the values"),
    )


def necks_sheet(explanation: Explanation) -> np.ndarray:
    """Draw what the tail sees through each neck, beside what it sees without.

    There is a row for each neck, and for each map where several cross.
    """
    rows, ends = [], []
    made = dict.fromkeys((view.cut, name) for view, _ in explanation.necks for name in view.maps)
    for cut, name in made:
        ways = [(view, answer) for view, answer in explanation.necks if view.cut == cut]
        plain = ways[0][0].maps[name]
        varied = np.argsort(-plain.var(axis=(1, 2)), kind="stable")[: _GRID_COLUMNS * _GRID_ROWS]
        low, high = float(plain[varied].min()), float(np.quantile(plain[varied], 0.999))
        ends.append((low, high))
        panels = []
        for view, answer in ways:
            how = "as it is" if view.codec is None else f"through {view.codec}"
            which = f", {name}" if len(view.maps) > 1 else ""
            caption = f"cut {cut}{which} {how}: {view.payload_bytes} bytes"
            if view.codec is not None:
                caption += f", {view.error:.0%} off (root mean square)"
            if answer is not None:
                caption += f"\n{explanation.said(answer)}"
            panels.append(Panel(colour_grid(view.maps[name][varied], low, high), caption))
        rows.append(panels)
    title = (
        "What the segments behind a neck take, the channels with the largest variance: "
        f"{_subject(explanation)}"
    )
    scale = Scale(_MAP_COLOURS, *ends[0], "activation, cut off at 99.9 % of the values")
    return sheet(title, rows, scale if len(ends) == 1 else None)


def _subject(explanation: Explanation) -> str:
    return f"{explanation.scene.name}, {explanation.bundle.name}"


def _shown_size(explanation: Explanation) -> tuple[int, int]:
    """Height and width of the picture on a sheet [px]."""
    height, width = explanation.scene.image.shape[:2]
    longer = max(height, width)
    scale = min(max(longer, _SMALLEST), _LARGEST) / longer
    return max(1, round(height * scale)), max(1, round(width * scale))


def _shown(explanation: Explanation) -> np.ndarray:
    return resized(explanation.scene.image, *_shown_size(explanation))


def _boxes_shown(explanation: Explanation, boxes: Sequence[Box]) -> list[Box]:
    """Map boxes from the picture to the sheet."""
    height, width = _shown_size(explanation)
    x, y = width / explanation.scene.image.shape[1], height / explanation.scene.image.shape[0]
    return [
        Box(b.label, b.x_min * x, b.y_min * y, b.x_max * x, b.y_max * y, b.score) for b in boxes
    ]


def _with_boxes(
    explanation: Explanation, boxes: Sequence[Box], *, scores: bool = True
) -> np.ndarray:
    classes = list(explanation.bundle.classes) if explanation.is_detection else []
    # The truth may know labels that the network does not.
    labels = classes + sorted({box.label for box in boxes} - set(classes))
    placed = _boxes_shown(explanation, boxes)
    return draw_boxes(_shown(explanation), placed, labels, scores=scores)


def _heated(explanation: Explanation, activation: ClassActivation) -> np.ndarray:
    """Lay the heat over the picture, brightest where it is highest, with outlines of the boxes."""
    shown = _shown(explanation)
    heat = on_frame(activation.heat, explanation.placement, *shown.shape[:2])
    highest = float(heat.max())
    share = heat / highest if highest > 0 else heat
    colours = colormaps[_HEAT_COLOURS](share)[..., :3] * 255
    grey = cv2.cvtColor(cv2.cvtColor(shown, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    # The root keeps faint heat visible; the colour says how faint.
    opacity = np.sqrt(share)[..., None]
    picture = np.rint(grey * (1 - opacity) + colours * opacity).astype(np.uint8)
    for box in _boxes_shown(explanation, _reference_boxes(explanation)):
        corners = np.rint([box.x_min, box.y_min, box.x_max, box.y_max]).astype(int).tolist()
        cv2.rectangle(picture, corners[:2], corners[2:], COLOURS[0], 1)
    return picture


def _reference_boxes(explanation: Explanation) -> list[Box]:
    """What the heat is compared with: true boxes, else those that were found."""
    truth = explanation.scene.truth
    boxes = truth.boxes if truth else explanation.answers[0].boxes
    if not explanation.is_detection:
        return list(boxes)
    return [box for box in boxes if box.label == explanation.label]


def _heat_words(explanation: Explanation, activation: ClassActivation) -> str:
    words = [f"score {activation.score:.3g}"]
    inside = explanation.heat_inside(activation)
    boxes = inside.get("truth") or inside.get("detections") or {}
    whose = "true" if "truth" in inside else "found"
    for label, shares in boxes.items():
        if explanation.is_detection and label != explanation.label:
            continue
        heat, area = shares["heat"], shares["area"]
        if heat is not None and area is not None:
            words.append(f"{heat:.0%} of the heat in {whose} '{label}' ({area:.1%} of the area)")
    return "; ".join(words)


def _maps_caption(each: FeatureMaps) -> str:
    return (
        f"{each.variant.name}: {each.variant.meaning}\nmean variance {each.variance.mean():.3g}; "
        f"{each.detail:.0%} of it finer than 3x3 places"
    )


def colour_grid(maps: np.ndarray, low: float, high: float) -> np.ndarray:
    """Colour maps (n, h, w) on a scale from ``low`` to ``high`` and put them in a grid.

    Returns:
        uint8 (height, width, 3), RGB; each map in a white frame of one pixel.
    """
    count, height, width = maps.shape
    scale = _CELL_PX / width if width >= height else _CELL_PX / height
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    span = high - low if high > low else 1.0
    cells = []
    for each in maps:
        colours = colormaps[_MAP_COLOURS](np.clip((each - low) / span, 0, 1))[..., :3]
        interpolation = cv2.INTER_NEAREST if scale > 1 else cv2.INTER_AREA
        cell = cv2.resize(
            np.rint(colours * 255).astype(np.uint8), size, interpolation=interpolation
        )
        cells.append(np.pad(cell, ((1, 1), (1, 1), (0, 0)), constant_values=255))
    columns = min(count, _GRID_COLUMNS)
    blank = np.full_like(cells[0], 255)
    cells += [blank] * (columns * math.ceil(count / columns) - count)
    rows = [np.hstack(cells[i : i + columns]) for i in range(0, len(cells), columns)]
    return np.vstack(rows)
