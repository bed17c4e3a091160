"""A plan as pictures: rooflines (the paper's Fig. 4), split points (Fig. 8), the Pareto front."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from codesign_ros.cost.roofline import RooflineMode, attainable_flops, intensity
from codesign_ros.planning.grid import Solution
from codesign_ros.planning.pareto import FrontPoint
from codesign_ros.types.devices import DeviceSpec
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import Structure
from codesign_ros.whatif.bounds import work

if TYPE_CHECKING:
    from matplotlib.axes import Axes as Panel
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg", ".pdf")
"""What a picture's file may end in."""

# Okabe and Ito's colours, which colour-blind people can tell apart too.
ROBOT_COLOUR, LINK_COLOUR, SERVER_COLOUR = "#0072B2", "#E69F00", "#009E73"
BEST_COLOUR = "#D55E00"
_WHOLE_COLOUR, _ANY_COLOUR = "#666666", "#000000"
# One for each structure; dashes tell lines apart that lie on one another.
_STRUCTURE_LINES = (
    (Structure.S3, "#0072B2", "-"),
    (Structure.S3_SS, "#56B4E9", "--"),
    (Structure.S3_S1, "#CC79A7", "-."),
    (Structure.S3_SS_S1, "#E69F00", ":"),
    (Structure.RANK, "#009E73", (0, (5, 1, 1, 1))),
)
_PANEL_INCHES = (6.4, 4.2)
_COLUMNS = 2
_MOST_TICKS = 10
# How far the rooflines' axis goes beyond what lies on it, as a factor.
_MARGIN = 6.0


def plan_figure(
    solution: Solution,
    robot: DeviceSpec | None = None,
    server: DeviceSpec | None = None,
    front: Sequence[FrontPoint] = (),
    title: str = "",
) -> Figure:
    """Draw a solution; each panel that has what it needs.

    Args:
        solution: what was solved.
        robot: the device of the head, for the roofline.
        server: the device of the tail, for the roofline.
        front: the Pareto front, fastest first, if it was worked out.
        title: what was planned, for people; that it is a prediction is added.
    """
    from matplotlib.figure import Figure  # takes a second, and only this needs it

    panels: list[Callable[[Panel], None]] = [
        lambda panel: draw_latency(panel, solution),
        lambda panel: draw_throughput(panel, solution),
    ]
    if robot is not None and solution.problem.tables.segment_flops is not None:
        panels.insert(0, lambda panel: draw_rooflines(panel, solution, robot, server))
    if front:
        panels.append(lambda panel: draw_front(panel, solution, front))
    rows = -(-len(panels) // _COLUMNS)
    size = (_COLUMNS * _PANEL_INCHES[0], rows * _PANEL_INCHES[1])
    figure = Figure(size, layout="constrained")
    places = figure.subplots(rows, _COLUMNS, squeeze=False).flatten()
    for place, draw in zip(places, panels, strict=False):
        draw(place)
        place.grid(alpha=0.3)
        place.set_axisbelow(True)
    for place in places[len(panels) :]:
        place.set_axis_off()
    figure.suptitle(f"{title or 'Plan'} (predicted, not run)")
    return figure


def check_suffix(path: Path) -> None:
    """Refuse a file name that no picture can have, before the work is done.

    Raises:
        CodesignError: the suffix is none of ``SUFFIXES``.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise CodesignError(f"cannot draw {path}: its name must end in {' or '.join(SUFFIXES)}")


def write_figure(path: Path, figure: Figure) -> None:
    """Write a figure as PNG, SVG or PDF, by the file's suffix.

    Raises:
        CodesignError: the suffix is another one, or the file cannot be written.
    """
    check_suffix(path)
    try:
        figure.savefig(path, dpi=120)
    except OSError as error:
        raise CodesignError(f"cannot write {path}: {error.strerror}") from None


def draw_rooflines(
    panel: Panel, solution: Solution, robot: DeviceSpec, server: DeviceSpec | None = None
) -> None:
    """Draw what performance each device allows over intensity, and where the plan stands (Fig. 4).

    I_0 is the whole network in the structure of the plan's larger part, I_1 the head on the robot,
    I_2 the tail on the server. The roofs are those of fp32; where the paper states another peak
    for a device, that roof is dotted.
    """
    tables, c = solution.problem.tables, solution.best.candidate
    last = tables.segments
    larger = c.head_structure if tables.load_fraction[c.cut] > 0.5 else c.tail_structure
    marks = [
        (name, intensity(flops, traffic), device, colour)
        for name, structure, first, end, device, colour in (
            ("$I_0$ whole network", larger, 0, last, None, _WHOLE_COLOUR),
            ("$I_1$ head", c.head_structure, 0, c.cut, robot, ROBOT_COLOUR),
            ("$I_2$ tail", c.tail_structure, c.cut, last, server, SERVER_COLOUR),
        )
        for flops, traffic in (work(tables, structure, first, end),)
        if flops > 0
    ]
    roofs = [(robot, ROBOT_COLOUR, "robot"), (server, SERVER_COLOUR, "server")]
    known = [(d, colour, role) for d, colour, role in roofs if d is not None and d.has("fp32")]
    ridges = [d.peak("fp32") / d.memory_bandwidth for d, _, _ in known]
    ridges += [d.ridge_intensity for d, _, _ in known]
    shown = np.array([x for _, x, _, _ in marks] + ridges)
    x = np.geomspace(shown.min() / _MARGIN, shown.max() * _MARGIN, 200)
    for device, colour, role in known:
        # The ridge itself is among the points, so that the corner is sharp.
        for peak_flops, style, whose in _roofs(device):
            ridge = peak_flops / device.memory_bandwidth
            at = np.sort(np.append(x, ridge))
            y = np.minimum(peak_flops, at * device.memory_bandwidth)
            label = f"{role} {device.name}, {whose} peak: ridge {ridge:.3g} FLOP/byte"
            panel.plot(at, y / 1e9, style, color=colour, label=label)
    for name, value, runs_on, colour in marks:
        label = f"{name}: {value:.3g} FLOP/byte"
        if runs_on is None or not runs_on.has("fp32"):
            panel.axvline(value, color=colour, linestyle="--", label=label)
        else:
            y_flops = attainable_flops(value, runs_on, RooflineMode.ROOFLINE)
            panel.plot([value], [y_flops / 1e9], "o", color=colour, markersize=9, label=label)
    panel.set_xscale("log")
    panel.set_yscale("log")
    panel.set_xlabel("computational intensity [FLOP/byte]")
    panel.set_ylabel("attainable performance [GFLOP/s]")
    panel.set_title(f"Rooflines, cut {c.cut} of {last}")
    panel.legend(fontsize="x-small", loc="lower right")


def _roofs(device: DeviceSpec) -> list[tuple[float, str, str]]:
    roofs = [(device.peak("fp32"), "-", "fp32")]
    stated = device.paper_peak_flops
    if stated is not None and stated != device.peak("fp32"):
        roofs.append((stated, ":", "the paper's"))
    return roofs


def draw_latency(panel: Panel, solution: Solution) -> None:
    """Draw the latency of the best plan of each cut as a bar of three stages."""
    rows = sorted(solution.best_of_each_cut(), key=lambda row: row.candidate.cut)
    cuts = np.array([row.candidate.cut for row in rows])
    bottom = np.zeros(len(rows))
    for name, colour, hatch, times_s in (
        ("robot", ROBOT_COLOUR, "", [row.prediction.head_s for row in rows]),
        ("link", LINK_COLOUR, "///", [row.prediction.link_s for row in rows]),
        ("server", SERVER_COLOUR, "", [row.prediction.tail_s for row in rows]),
    ):
        height = 1e3 * np.array(times_s)
        panel.bar(
            cuts, height, 0.8, bottom, color=colour, hatch=hatch, edgecolor="white", label=name
        )
        bottom += height
    best = solution.best
    latency_ms = 1e3 * best.prediction.latency_s
    _draw_plan(panel, best.candidate.cut, latency_ms, f"the plan: {latency_ms:.3g} ms")
    share = 100 * solution.problem.tables.load_fraction
    shown = np.unique(
        np.linspace(0, len(cuts) - 1, min(len(cuts), _MOST_TICKS)).round().astype(int)
    )
    panel.set_xticks(cuts[shown], [f"{cut}\n{share[cut]:.0f} %" for cut in cuts[shown]])
    panel.set_xlabel("cut, and share of the work on the robot")
    panel.set_ylabel("latency of a frame [ms]")
    panel.set_title("Best plan of each cut")
    panel.legend(fontsize="small")


def draw_throughput(panel: Panel, solution: Solution) -> None:
    """Draw the throughput of each cut's best plan over the share on the robot (Fig. 8).

    A line for each structure that both halves may have, and one for the best of all structures.
    """
    share = 100 * solution.problem.tables.load_fraction
    axes = solution.problem.tables.axes
    if len(axes.structures) > 1:
        for structure, colour, style in _STRUCTURE_LINES:
            if structure in axes.structures:
                fps = throughput_by_cut(solution, structure)
                label = f"{structure.value} in both halves"
                panel.plot(share, fps, color=colour, linestyle=style, label=label)
    fps = throughput_by_cut(solution)
    name = "any structures" if len(axes.structures) > 1 else axes.structures[0].value
    panel.plot(share, fps, "o", color=_ANY_COLOUR, markersize=3, label=name)
    best_fps = solution.best.prediction.throughput_fps
    label = f"the plan: {best_fps:.3g} frames/s"
    _draw_plan(panel, share[solution.best.candidate.cut], best_fps, label)
    panel.set_xlabel("share of the work on the robot [%]")
    panel.set_ylabel("throughput [frames/s]")
    panel.set_title("Throughput at each split point")
    panel.legend(fontsize="x-small")


def _draw_plan(panel: Panel, x: float, y: float, label: str) -> None:
    """Put a star where the plan is."""
    panel.plot(
        [x], [y], "*", color=BEST_COLOUR, markersize=16, markeredgecolor="white", label=label
    )


def throughput_by_cut(solution: Solution, structure: Structure | None = None) -> np.ndarray:
    """Throughput of each cut's best candidate by the objective, of all or of one structure [1/s].

    Returns:
        (N+1,); NaN where no candidate is offered, or where nothing takes any time.
    """
    evaluation = solution.evaluation
    objective = evaluation.objective
    slowest = np.broadcast_to(evaluation.pace_s, objective.shape)
    if structure is not None:
        s = solution.problem.tables.axes.structures.index(structure)
        objective, slowest = objective[:, s, s], slowest[:, s, s]
    objective = objective.reshape(len(objective), -1)
    place = np.arange(len(objective)), objective.argmin(axis=1)
    period_s = np.where(np.isfinite(objective[place]), slowest.reshape(objective.shape)[place], 0)
    return 1.0 / np.where(period_s > 0, period_s, np.nan)


def draw_front(panel: Panel, solution: Solution, front: Sequence[FrontPoint]) -> None:
    """Draw time against accuracy loss: what some lambda_1 chooses, and what none does."""
    chosen = [point for point in front if point.lambda_1 is not None]
    others = [point for point in front if point.lambda_1 is None]
    for points, style, colour, fill, label in (
        (chosen, "o-", ROBOT_COLOUR, ROBOT_COLOUR, "some lambda_1 chooses it"),
        (others, "o", LINK_COLOUR, "none", "no lambda_1 does, a limit may"),
    ):
        if points:
            times_ms = [1e3 * point.time_s for point in points]
            lost = [100 * point.accuracy_loss for point in points]
            panel.plot(times_ms, lost, style, color=colour, markerfacecolor=fill, label=label)
    problem, p = solution.problem, solution.best.prediction
    time_s = p.objective - problem.lambda_1 * p.accuracy_loss
    label = f"the plan (lambda_1 = {problem.lambda_1:g} s)"
    _draw_plan(panel, 1e3 * time_s, 100 * p.accuracy_loss, label)
    panel.set_xlabel(f"time that counts: {problem.objective.value} [ms]")
    panel.set_ylabel(f"loss of {problem.tables.metric} [points]")
    panel.set_title("Pareto front")
    panel.legend(fontsize="small")
