"""Sheets: pictures in rows, each with a caption below, all at their own resolution."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

_DPI = 100
_GAP_PX = 14
_MIN_PANEL_PX = 320  # captions need some width
_TITLE_PX, _CAPTION_PX = 17, 13  # height of letters with their line's lead is 1.35 times that
_LINE = 1.35
_BAR_PX, _BAR_TEXT_PX = 16, 60


class Panel(NamedTuple):
    """A picture, uint8 (H, W, 3) RGB, and what is said about it."""

    image: np.ndarray
    caption: str


class Scale(NamedTuple):
    """A colour bar: name of matplotlib's colour map, its ends, and what it measures."""

    colours: str
    low: float
    high: float
    label: str


def sheet(title: str, rows: Sequence[Sequence[Panel]], scale: Scale | None = None) -> np.ndarray:
    """Lay out pictures in rows.

    Args:
        title: one line or more above them.
        rows: the pictures; each keeps its size.
        scale: a colour bar for all of them, to their right.

    Returns:
        uint8 (height, width, 3), RGB.
    """
    widths = [[max(_MIN_PANEL_PX, p.image.shape[1]) for p in row] for row in rows]
    captions = [
        [_wrapped(panel.caption, width, _CAPTION_PX) for panel, width in zip(row, ws, strict=True)]
        for row, ws in zip(rows, widths, strict=True)
    ]
    across = max(sum(ws) + _GAP_PX * (len(ws) + 1) for ws in widths)
    heading = _wrapped(title, across - 2 * _GAP_PX, _TITLE_PX)
    pictures_top = _GAP_PX + _height(heading, _TITLE_PX) + _GAP_PX // 2
    heights = [
        max(p.image.shape[0] for p in row) + max(_height(c, _CAPTION_PX) for c in texts) + _GAP_PX
        for row, texts in zip(rows, captions, strict=True)
    ]
    bar = _BAR_PX + _BAR_TEXT_PX + _GAP_PX if scale else 0
    canvas = _Canvas(across + bar, pictures_top + sum(heights))
    canvas.text(_GAP_PX, _GAP_PX, heading, _TITLE_PX)
    top = pictures_top
    for row, ws, texts, height in zip(rows, widths, captions, heights, strict=True):
        left = _GAP_PX
        below = top + max(panel.image.shape[0] for panel in row) + 3
        for panel, width, caption in zip(row, ws, texts, strict=True):
            canvas.picture(left + (width - panel.image.shape[1]) // 2, top, panel.image)
            canvas.text(left, below, caption, _CAPTION_PX)
            left += width + _GAP_PX
        top += height
    if scale:
        canvas.bar(across, pictures_top, max(p.image.shape[0] for p in rows[0]), scale)
    return canvas.pixels()


def stack(sheets: Sequence[np.ndarray]) -> np.ndarray:
    """Put sheets below one another on white; uint8 (height, width, 3), RGB."""
    width = max(each.shape[1] for each in sheets)
    padded = [
        np.pad(each, ((0, 0), (0, width - each.shape[1]), (0, 0)), constant_values=255)
        for each in sheets
    ]
    return np.concatenate(padded)


class _Canvas:
    """A matplotlib figure that is addressed in pixels from the top left."""

    def __init__(self, width: int, height: int) -> None:
        self._figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor="white")
        self._agg = FigureCanvasAgg(self._figure)
        self._width, self._height = width, height

    def text(self, left: int, top: int, text: str, letters_px: int) -> None:
        x, y = left / self._width, 1 - top / self._height
        # matplotlib measures letters in points, 72 to the inch. A $ is a $ and no formula.
        self._figure.text(
            x, y, text, va="top", ha="left", linespacing=_LINE - 0.15, parse_math=False,
            fontsize=letters_px * 72 / _DPI,
        )  # fmt: skip

    def picture(self, left: int, top: int, image: np.ndarray) -> None:
        height = image.shape[0]
        self._figure.figimage(image, left, self._height - top - height, origin="upper")

    def bar(self, left: int, top: int, height: int, scale: Scale) -> None:
        axes = self._figure.add_axes(
            (
                left / self._width,
                1 - (top + height) / self._height,
                _BAR_PX / self._width,
                height / self._height,
            )
        )
        colours = ScalarMappable(Normalize(scale.low, scale.high), scale.colours)
        bar = self._figure.colorbar(colours, cax=axes)
        bar.ax.tick_params(labelsize=_CAPTION_PX * 72 / _DPI)
        bar.set_label(scale.label, fontsize=_CAPTION_PX * 72 / _DPI)

    def pixels(self) -> np.ndarray:
        self._agg.draw()
        return np.asarray(self._agg.buffer_rgba())[..., :3].copy()


def _wrapped(text: str, width_px: int, letters_px: int) -> str:
    # The letters of matplotlib's font are 0.6 times as wide as high, on average.
    columns = max(10, int(width_px / (0.6 * letters_px)))
    return "\n".join(
        line for part in text.splitlines() for line in textwrap.wrap(part, columns) or [""]
    )


def _height(text: str, letters_px: int) -> int:
    return round((text.count("\n") + 1) * _LINE * letters_px) + 4
