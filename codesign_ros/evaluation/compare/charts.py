"""Small charts as SVG, whose colours a page's style sheet gives: they follow light and dark.

Written with the standard library: text stays text, a chart takes a few kB, and nothing has to be
loaded. They are 400 units wide, so that they can be read on a telephone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from xml.etree import ElementTree as Tree

WIDTH = 400
_LABEL, _ROW, _TOP, _BOTTOM = 130, 22, 8, 34


def bars(rows: Sequence[tuple[str, float, str]], unit: str, chosen: str) -> str:
    """Bars from 0: name, value and what is written behind it."""
    most = max((value for _, value, _ in rows), default=1.0) or 1.0
    svg = _svg(_TOP + _ROW * len(rows) + 18, unit)
    for place, (name, value, text) in enumerate(rows):
        y = _TOP + _ROW * place
        _name(svg, name, y, chosen)
        width = (WIDTH - _LABEL - 60) * value / most
        _add(svg, "rect", x=_LABEL, y=y + 3, width=max(1.0, width), height=_ROW - 7,
             **{"class": _class(name, chosen)})  # fmt: skip
        _text(svg, text, _LABEL + width + 5, y + 15)
    _text(svg, unit, _LABEL, _TOP + _ROW * len(rows) + 12, "soft")
    return _written(svg)


def ranges(rows: Sequence[tuple[str, Sequence[float]]], unit: str, chosen: str) -> str:
    """Name and the percentiles 5, 25, 50, 75, 95: a line, a box, a tick; a logarithmic axis."""
    values = [value for _, five in rows for value in five if value > 0]
    low, high = _decades(values)
    svg = _svg(_TOP + _ROW * len(rows) + _BOTTOM, unit)

    def at(value: float) -> float:
        return _LABEL + (WIDTH - _LABEL - 14) * _log_place(value, low, high)

    base = _TOP + _ROW * len(rows)
    _log_axis(svg, at, low, high, base, unit)
    for place, (name, five) in enumerate(rows):
        y, kind = _TOP + _ROW * place, _class(name, chosen)
        _name(svg, name, y, chosen)
        first, quarter, middle, three, last = map(at, five)
        _add(svg, "line", x1=first, x2=last, y1=y + 11, y2=y + 11, **{"class": "whisker"})
        _add(svg, "rect", x=quarter, y=y + 5, width=max(1.0, three - quarter), height=12,
             **{"class": kind})  # fmt: skip
        _add(svg, "line", x1=middle, x2=middle, y1=y + 3, y2=y + 19, **{"class": "median"})
    return _written(svg)


def front(points: Sequence[tuple[str, float, float]], x_unit: str, y_unit: str, chosen: str) -> str:
    """Name, cost (less is better) and gain (more is better), with the Pareto front."""
    height, left = 250, 46
    costs = [max(cost, 1e-3) for _, cost, _ in points]
    low, high = _decades(costs)
    gains = [gain for *_, gain in points]
    floor, top = min(gains), max(gains)
    pad = (top - floor) * 0.15 or 0.02
    floor, top = floor - pad, top + pad
    svg = _svg(height, f"{y_unit} against {x_unit}")

    def x_at(cost: float) -> float:
        return left + (WIDTH - left - 20) * _log_place(cost, low, high)

    def y_at(gain: float) -> float:
        return _TOP + (height - _TOP - _BOTTOM) * (top - gain) / (top - floor)

    _log_axis(svg, x_at, low, high, height - _BOTTOM, x_unit)
    for part in (0.1, 0.5, 0.9):
        gain = floor + part * (top - floor)
        _text(svg, f"{gain:.3f}", 4, y_at(gain) + 4, "soft")
    placed = sorted((max(cost, 1e-3), -gain, name) for name, cost, gain in points)
    best, steps = -math.inf, []
    for cost, minus_gain, _ in placed:
        if -minus_gain > best:
            best = -minus_gain
            steps.append(f"{x_at(cost):.1f},{y_at(best):.1f}")
    _add(svg, "polyline", points=" ".join(steps), **{"class": "front"})
    for cost, minus_gain, name in placed:
        x, y = x_at(cost), y_at(-minus_gain)
        _add(svg, "circle", cx=x, cy=y, r=5, **{"class": _class(name, chosen)})
        end = x > WIDTH * 0.6
        _text(svg, name, x - 8 if end else x + 8, y - 5, "end" if end else "")
    _text(svg, y_unit, 4, height - 4, "soft")
    return _written(svg)


def timeline(
    rates: Sequence[tuple[float, float]],
    strips: Sequence[tuple[str, Sequence[tuple[float, str]], Sequence[float]]],
    end_s: float,
    chosen: str,
) -> str:
    """The link's rate over time, and below it each policy's plans.

    Args:
        rates: time [s] and rate [Mbit/s].
        strips: name, plans (from when [s], what), and when frames were dropped [s].
        end_s: end of the axis [s].
        chosen: the strip that stands out.
    """
    chart, row = 90, 38
    height = _TOP + chart + row * len(strips) + 24
    svg = _svg(height, "plans over time")

    def x_at(time_s: float) -> float:
        return 8 + (WIDTH - 16) * min(time_s, end_s) / end_s

    most = max((rate for _, rate in rates), default=1.0) or 1.0
    line = " ".join(f"{x_at(t):.1f},{_TOP + chart - (chart - 16) * r / most:.1f}" for t, r in rates)
    _add(svg, "polyline", points=line, **{"class": "rate"})
    _text(svg, f"link, up to {most:.3g} Mbit/s", 8, _TOP + 8, "soft")
    for place, (name, plans, drops) in enumerate(strips):
        y = _TOP + chart + row * place
        _text(svg, name, 8, y + 12, "strong" if name == chosen else "")
        ends = [since for since, _ in plans[1:]] + [end_s]
        kinds = list(dict.fromkeys(words for _, words in plans))
        for (since_s, words), until_s in zip(plans, ends, strict=True):
            width = max(1.0, x_at(until_s) - x_at(since_s))
            box = _add(svg, "rect", x=x_at(since_s), y=y + 16, width=width, height=14,
                       **{"class": f"plan{kinds.index(words) % 4}"})  # fmt: skip
            Tree.SubElement(box, "title").text = f"{since_s:.1f} s: {words}"
        for drop_s in drops:
            x = x_at(drop_s)
            _add(svg, "line", x1=x, x2=x, y1=y + 14, y2=y + 32, **{"class": "drop"})
    for part in (0.0, 0.5, 1.0):
        kind = ("", "middle", "end")[round(2 * part)]
        _text(svg, f"{part * end_s:.3g} s", x_at(part * end_s), height - 6, f"soft {kind}")
    return _written(svg)


def stacks(rows: Sequence[tuple[str, Sequence[float]]], unit: str) -> str:
    """Bars of three parts each: robot, link, server."""
    most = max((sum(parts) for _, parts in rows), default=1.0) or 1.0
    row, left = 13, 74
    svg = _svg(_TOP + row * len(rows) + 18, unit)
    for place, (name, parts) in enumerate(rows):
        y, x = _TOP + row * place, float(left)
        _text(svg, name, left - 5, y + 10, "end soft")
        for number, part in enumerate(parts):
            width = (WIDTH - left - 10) * part / most
            _add(svg, "rect", x=x, y=y + 1, width=width, height=row - 3,
                 **{"class": f"plan{number}"})  # fmt: skip
            x += width
    _text(svg, f"{unit}, up to {most:.3g}", left, _TOP + row * len(rows) + 12, "soft")
    return _written(svg)


def _svg(height: float, label: str) -> Tree.Element:
    svg = Tree.Element("svg", viewBox=f"0 0 {WIDTH} {height:g}", role="img")
    svg.set("aria-label", label)
    return svg


def _add(svg: Tree.Element, tag: str, **values: object) -> Tree.Element:
    written = {k: f"{v:.1f}" if isinstance(v, float) else str(v) for k, v in values.items()}
    return Tree.SubElement(svg, tag, written)


def _text(svg: Tree.Element, text: str, x: float, y: float, kind: str = "") -> None:
    _add(svg, "text", x=float(x), y=float(y), **{"class": kind}).text = text


def _name(svg: Tree.Element, name: str, y: float, chosen: str) -> None:
    _text(svg, name, _LABEL - 6, y + 15, "end strong" if name == chosen else "end")


def _class(name: str, chosen: str) -> str:
    return "chosen" if name == chosen else "other"


def _decades(values: Sequence[float]) -> tuple[float, float]:
    """Powers of ten around values above 0."""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return low, max(high, low + 1)


def _log_place(value: float, low: float, high: float) -> float:
    return min(1.0, max(0.0, (math.log10(max(value, 1e-9)) - low) / (high - low)))


def _log_axis(
    svg: Tree.Element,
    at: Callable[[float], float],
    low: float,
    high: float,
    y: float,
    unit: str,
) -> None:
    for power in range(int(low), int(high) + 1):
        x = at(10.0**power)
        _add(svg, "line", x1=x, x2=x, y1=float(_TOP), y2=float(y), **{"class": "grid"})
        _text(svg, f"{10.0**power:g}", x, y + 14, "soft middle")
    _text(svg, unit, WIDTH - 4, y + 28, "soft end")


def _written(svg: Tree.Element) -> str:
    return Tree.tostring(svg, encoding="unicode")
