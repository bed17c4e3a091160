"""Small charts as SVG, whose colours a page's style sheet gives: they follow light and dark.

Written with the standard library: text stays text, a chart takes a few kB, and nothing has to be
loaded. They are 400 units wide, so that they can be read on a telephone.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from xml.etree import ElementTree as Tree

from codesign_ros.console import short
from codesign_ros.evaluation.compare.fronts import Front, FrontPoint

WIDTH = 400
_LABEL, _ROW, _TOP, _BOTTOM = 130, 22, 8, 34
# A bar of so many times the middle one is cut off.
_LONG = 4


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


def front(shown: Front, y_unit: str, chosen: str) -> str:
    """Cost (less is better) and accuracy in time (more is better), with the Pareto front.

    A policy that only losses keep from the front is hollow, and a line leads from it to where its
    answers alone would be.
    """
    height, left, ceiling = 264, 46, _TOP + 16
    low, high = _decades([max(each.cost, 1e-3) for each in shown.points])
    gains = [each.in_time for each in shown.points]
    gains += [each.answered for each in shown.points if each.only_by_answers]
    floor, top = min(gains), max(gains)
    ticks = sorted({floor, (floor + top) / 2, top})
    pad = (top - floor) * 0.15 or 0.02
    floor, top = floor - pad, top + pad
    svg = _svg(height, f"{y_unit} against {shown.unit}")

    def x_at(cost: float) -> float:
        return left + (WIDTH - left - 20) * _log_place(cost, low, high)

    def y_at(gain: float) -> float:
        return ceiling + (height - ceiling - _BOTTOM) * (top - gain) / (top - floor)

    _log_axis(svg, x_at, low, high, height - _BOTTOM, shown.unit)
    for gain in ticks:
        _text(svg, f"{gain:.3f}", 4, y_at(gain) + 4, "soft")
    places: dict[tuple[float, float], list[FrontPoint]] = {}
    for each in sorted(shown.points, key=lambda each: (each.cost, -each.in_time)):
        places.setdefault((x_at(each.cost), y_at(each.in_time)), []).append(each)
    steps = [f"{x:.1f},{y:.1f}" for (x, y), here in places.items() if not here[0].beaten_by]
    _add(svg, "polyline", points=" ".join(steps), **{"class": "front"})
    # No name stands on a point.
    taken = [(x - 5, x + 5, y + 4) for x, y in places]
    for (x, y), here in places.items():
        for each in here:
            if each.only_by_answers:
                ghost = y_at(each.answered)
                _add(svg, "line", x1=x, x2=x, y1=y, y2=ghost, **{"class": "loss"})
                _add(svg, "circle", cx=x, cy=ghost, r=3, **{"class": "soft"})
        names = [each.policy for each in here]
        kind = _class(chosen if chosen in names else names[0], chosen)
        hollow = " hollow" if any(each.only_by_answers for each in here) else ""
        _add(svg, "circle", cx=x, cy=y, r=5, **{"class": kind + hollow})
        _label(svg, ", ".join(names), x, y - 5, taken)
    _text(svg, y_unit, 4, 10, "soft")
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
    """Bars of three parts each: robot, link, server.

    One that is far longer than most ends at the edge, with its sum written on it.
    """
    sums = sorted(sum(parts) for _, parts in rows)
    most = min(sums[-1], _LONG * sums[len(sums) // 2]) or 1.0
    row, left = 13, 74
    base, room = _TOP + row * len(rows), WIDTH - left - 10
    svg = _svg(base + 34, unit)
    for place, (name, parts) in enumerate(rows):
        y, x = _TOP + row * place, float(left)
        _text(svg, name, left - 5, y + 10, "end soft")
        for number, part in enumerate(parts):
            width = min(room * part / most, left + room - x)
            _add(svg, "rect", x=x, y=y + 1, width=width, height=row - 3,
                 **{"class": f"plan{number}"})  # fmt: skip
            x += width
        if sum(parts) > most:
            _text(svg, short(sum(parts)), left + room - 4, y + 10, "end inside")
    _text(svg, f"{unit}, up to {short(most)}", left, base + 12, "soft")
    for number, name in enumerate(("robot", "link", "server")):
        x = left + 70.0 * number
        _add(svg, "rect", x=x, y=base + 20, width=10, height=10, **{"class": f"plan{number}"})
        _text(svg, name, x + 14, base + 29)
    return _written(svg)


def roofs(
    lines: Sequence[tuple[str, str, float, float]],
    points: Sequence[tuple[str, str, float, float, bool]],
) -> str:
    """Performance over intensity, both logarithmic: a roof for each device, points below.

    Args:
        lines: class, name, peak [GFLOP/s] and bandwidth [GB/s].
        points: class, what is shown where the pointer rests, intensity [FLOP/byte], performance
            [GFLOP/s], and whether it stands out.
    """
    height, left = 270, 46
    ridges = [peak / bandwidth for _, _, peak, bandwidth in lines]
    left_x, right_x = _decades([x for _, _, x, _, _ in points] + ridges)
    low_y, high_y = _decades([y for _, _, _, y, _ in points] + [peak for _, _, peak, _ in lines])
    base = height - _BOTTOM - 14 * len(lines)
    svg = _svg(height, "performance against intensity")

    def x_at(intensity: float) -> float:
        return left + (WIDTH - left - 20) * _log_place(intensity, left_x, right_x)

    def y_at(performance: float) -> float:
        return base - (base - _TOP) * _log_place(performance, low_y, high_y)

    _log_axis(svg, x_at, left_x, right_x, base, "FLOP/byte")
    for power in range(int(low_y), int(high_y) + 1):
        _text(svg, f"{10.0**power:g}", 4, y_at(10.0**power) + 4, "soft")
    for place, (kind, name, peak, bandwidth) in enumerate(lines):
        start = max(10.0**left_x, 10.0**low_y / bandwidth)
        corners = [(x, min(peak, x * bandwidth)) for x in (start, peak / bandwidth, 10.0**right_x)]
        path = " ".join(f"{x_at(x):.1f},{y_at(y):.1f}" for x, y in corners)
        _add(svg, "polyline", points=path, **{"class": f"roof {kind}"})
        below = height - 14 * (len(lines) - place) + 8
        _add(svg, "circle", cx=10.0, cy=below - 4.0, r=4, **{"class": kind})
        _text(svg, name, 20, below)
    for kind, told, x, y, stands_out in points:
        mark = _add(svg, "circle", cx=x_at(x), cy=y_at(y), r=5 if stands_out else 3,
                    **{"class": f"{kind} strong" if stands_out else f"{kind} faint"})  # fmt: skip
        Tree.SubElement(mark, "title").text = told
    _text(svg, "GFLOP/s", 4, base + 28, "soft")
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


def _label(
    svg: Tree.Element, text: str, x: float, y: float, taken: list[tuple[float, float, float]]
) -> None:
    """Name a point beside it, as near as there is room.

    Args:
        svg: the picture.
        text: the name.
        x: of the point.
        y: of the name, if there is room.
        taken: where something is: from x to x, and its y; the name is added.
    """
    width = 6.6 * len(text)
    sides = [(x + 8, ""), (x - 8 - width, "end")]
    if x > WIDTH * 0.6:
        sides.reverse()
    sides = [side for side in sides if 0 <= side[0] <= WIDTH - width] or sides[:1]
    for at, (start, kind) in ((at, side) for at in _around(y) for side in sides):
        left, right = start - 3, start + width + 3
        if not any(abs(at - o) < 12 and left < stop and begin < right for begin, stop, o in taken):
            taken.append((left, right, at))
            _text(svg, text, x - 8 if kind else x + 8, at, kind)
            return


def _around(y: float) -> Iterator[float]:
    """Places ever further above and below one, but not where the unit stands."""
    for shift in itertools.count(0, 4):
        yield y + shift
        if y - shift > _TOP + 16:
            yield y - shift


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
        # The last one stays within the picture.
        kind = "end" if x > WIDTH - 18 else "middle"
        _text(svg, f"{10.0**power:g}", x, y + 14, f"soft {kind}")
    _text(svg, unit, WIDTH - 4, y + 28, "soft end")


def _written(svg: Tree.Element) -> str:
    return Tree.tostring(svg, encoding="unicode")
