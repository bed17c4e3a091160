"""Why a plan is what it is, in words for people who know the robot and not the equations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from codesign_ros.console import data_size, link_rate, ms, points
from codesign_ros.planning.grid import Solution, grid
from codesign_ros.planning.objective import Objective, time_s
from codesign_ros.planning.problem import Candidate, CandidateCost, Problem, Row
from codesign_ros.types.devices import DeviceSpec
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import Merge
from codesign_ros.types.links import LinkSpec
from codesign_ros.whatif.bounds import bound_lines

# Less than this is the same time [s], and the same accuracy.
_SAME_S, _SAME_LOSS = 5e-6, 5e-6


def explain_plan(
    solution: Solution,
    robot: DeviceSpec | None = None,
    servers: Mapping[str, DeviceSpec] | None = None,
) -> list[str]:
    """Explain a solution's best plan, one thought a line.

    Says what the plan is, which stage is the bottleneck, what bounds each half on its device (Eq. 2
    and 4), what the other ways cost (all on the robot, the frame sent, the next best cut), what
    twice and half the link's rate would choose, what accuracy and the limits changed, and last the
    notes of the cost model. It solves the problem again for that, a few times. A peer's plan in the
    place of the best one is compared with the best one instead.

    Args:
        solution: what was solved.
        robot: the device of the head; None = not known, and nothing is said of what bounds it.
        servers: the devices of the servers by name, likewise.
    """
    lines = [_plan_line(solution), _bottleneck_line(solution)]
    lines += bound_lines(solution, robot, servers or {})
    lines += _other_ways(solution)
    problem, best = solution.problem, solution.best
    ours = grid(problem).best
    if ours.candidate == best.candidate:
        lines += [*_link_lines(solution), _accuracy_line(solution), *_limit_lines(solution)]
    else:
        words = choice_words(ours.candidate, problem)
        lines.append(f"The best plan by this cost model, {words}, {_versus(ours, best, problem)}.")
    return lines + [f"Note: {note}." for note in solution.problem.tables.notes]


def choice_words(candidate: Candidate, problem: Problem) -> str:
    """Name a choice shortly, as far as there was something to choose."""
    axes, last = problem.tables.axes, problem.tables.segments
    head, tail = candidate.head_structure.value, candidate.tail_structure.value
    if candidate.cut == last:
        words = [f"all on the robot, {head}"]
    elif candidate.cut == 0:
        words = [f"the frame as {candidate.codec}, {tail}"]
    else:
        words = [head if head == tail else f"{head} then {tail}", candidate.codec]
    if candidate.merge is not Merge.FOLD:
        words.append(candidate.merge.value)
    if len(axes.precisions) > 1:
        words.append(candidate.precision)
    if len(axes.servers) > 1 and candidate.server:
        words.append(f"by {candidate.server}")
    return f"cut {candidate.cut} ({', '.join(words)})"


def _plan_line(solution: Solution) -> str:
    c, last = solution.best.candidate, solution.problem.tables.segments
    precision = f" in {c.precision}"
    if c.cut == last:
        why = "" if solution.problem.server_available else ", for there is no server"
        return f"The robot runs the whole network ({c.head_structure.value}){precision}{why}."
    sent = f"sends {data_size(solution.best.prediction.payload_bytes)} as {c.codec}"
    if c.cut == 0:
        return (
            f"The robot {sent}, the frame itself, and {c.server} runs the whole network "
            f"({c.tail_structure.value}){precision}."
        )
    return (
        f"The robot runs segments 1 to {c.cut} of {last} ({c.head_structure.value}) and {sent}; "
        f"{c.server} runs the rest ({c.tail_structure.value}){precision}."
    )


def _bottleneck_line(solution: Solution) -> str:
    p = solution.best.prediction
    stages = _stages(solution.best, solution.problem)
    slowest = max(stages, key=lambda name: stages[name])
    others = [f"{name} {ms(s)}" for name, s in stages.items() if name != slowest and s > 0]
    beside = f"; {', '.join(others)}" if others else ""
    link = _link_of(solution.problem, solution.best.candidate)
    sending = ""
    if slowest == "the link" and link is not None:
        sending = f" ({data_size(p.payload_bytes)} at {link_rate(link.bandwidth_bps)}"
        travels_s = (link.delay_s + link.back_delay_s) * (p.link_s > p.occupancy_s)
        is_latency = solution.problem.objective is Objective.LATENCY
        sending += f" and {ms(travels_s)} delay both ways)" if is_latency and travels_s else ")"
    if solution.problem.objective is Objective.THROUGHPUT:
        return (
            f"{_capital(slowest)} is the bottleneck and sets the pace: {ms(p.pace_s)} a frame"
            f"{sending}, {p.throughput_fps:.3g} frames/s{beside}."
        )
    return (
        f"{_capital(slowest)} is the bottleneck: {ms(stages[slowest])} of {ms(p.latency_s)}"
        f"{sending}{beside}."
    )


def _other_ways(solution: Solution) -> list[str]:
    problem, best, last = solution.problem, solution.best, solution.problem.tables.segments
    lines = []
    ends = {last: "Keeping all on the robot"}
    if problem.server_available:
        ends[0] = "Sending the frame"
    for cut, name in ends.items():
        if cut == best.candidate.cut:
            continue
        row = solution.best_at(cut)
        if row is None:
            lines.append(f"{name} is not offered: {_why_not(solution, cut)}.")
            continue
        sent = row.prediction.payload_bytes
        how = f" as {row.candidate.codec} ({data_size(sent)})" if sent else ""
        lines.append(f"{name}{how} {_versus(row, best, problem)}.")
    splits = (row for row in solution.best_of_each_cut() if row.candidate.cut not in (0, last))
    other = next((row for row in splits if row.candidate.cut != best.candidate.cut), None)
    if other is not None:
        kind = "best" if best.candidate.cut in (0, last) else "next best"
        words = choice_words(other.candidate, problem)
        lines.append(f"The {kind} split, {words}, {_versus(other, best, problem)}.")
    return lines


def _versus(row: Row, best: Row, problem: Problem) -> str:
    """Say what another choice costs more than the best one, and where."""
    more_s = _time_s(row.prediction, problem) - _time_s(best.prediction, problem)
    lost = row.prediction.accuracy_loss - best.prediction.accuracy_loss
    before, after = _stages(best, problem), _stages(row, problem)
    if abs(more_s) < _SAME_S:
        time = "would take as long"
    else:
        if problem.objective is Objective.THROUGHPUT:
            paced = after if more_s > 0 else before
            stage = max(paced, key=lambda name: paced[name])
        else:
            stage = max(after, key=lambda name: (after[name] - before[name]) * more_s)
        time = (
            f"would take {ms(abs(more_s))} {'more' if more_s > 0 else 'less'} a frame: "
            f"{stage} needs {ms(after[stage])} instead of {ms(before[stage])}"
        )
    if abs(lost) < _SAME_LOSS:
        return time
    joint = ", but" if more_s * lost < 0 else " and"
    weighs = f", worth {ms(problem.lambda_1 * abs(lost))}" if problem.lambda_1 else ""
    return (
        f"{time}{joint} {'lose' if lost > 0 else 'save'} {points(abs(lost))} of "
        f"{problem.tables.metric}{weighs}"
    )


def _why_not(solution: Solution, cut: int) -> str:
    """Say why no candidate of a cut is left: its cost is not known, or a limit forbids it."""
    evaluation = solution.evaluation
    offered = evaluation.offered[cut]
    if not offered.any():
        return "what it costs is not known, or none of its codecs may be chosen"
    return _missed(solution, cut) or "it keeps each limit alone, but not all of them at once"


def _missed(solution: Solution, place: int | tuple[int, ...]) -> str:
    """Say which limits nothing at this place of the grid keeps, and by how much at least."""
    offered = solution.evaluation.offered
    missed = []
    for bound in solution.evaluation.bounds:
        excess = np.broadcast_to(bound.excess, offered.shape)[place]
        least = float(excess[offered[place]].min())
        if least > 0:
            missed.append(bound.over(least))
    return "; ".join(missed)


def _link_lines(solution: Solution) -> list[str]:
    problem = solution.problem
    return [
        f"With the link {name} as fast, {_solved(_with_link(problem, factor), solution)}."
        for factor, name in ((2.0, "twice"), (0.5, "half"))
        if problem.links
    ]


def _with_link(problem: Problem, factor: float) -> Problem:
    links = (link.scaled(factor) for link in problem.links)
    return replace(problem, links=tuple(links))


def _solved(problem: Problem, solution: Solution) -> str:
    """Solve a changed problem and say what would be chosen."""
    try:
        found = grid(problem).best
    except CodesignError:
        return "no plan would keep the limits"
    takes = f"{ms(_time_s(found.prediction, problem))} a frame"
    if found.candidate == solution.best.candidate:
        return f"the plan stays, at {takes}"
    return f"the plan would be {choice_words(found.candidate, problem)}, at {takes}"


def _accuracy_line(solution: Solution) -> str:
    problem, best = solution.problem, solution.best
    lost = best.prediction.accuracy_loss
    said = (
        f"The plan loses {points(lost)} of {problem.tables.metric}"
        if lost >= _SAME_LOSS
        else f"The plan loses no {problem.tables.metric}"
    )
    if problem.lambda_1 == 0:
        return f"{said}; what a plan loses did not count (lambda_1 is 0)."
    counts = f"a point counts as {ms(problem.lambda_1 / 100)}"
    blind = grid(replace(problem, lambda_1=0.0)).best
    if blind.candidate == best.candidate:
        return f"{said}; {counts}, and without that the plan would be the same."
    other = choice_words(blind.candidate, problem)
    return f"{said}; {counts}, else it would be {other}: that {_versus(blind, best, problem)}."


def _limit_lines(solution: Solution) -> list[str]:
    problem = solution.problem
    if not solution.evaluation.bounds:
        return []
    row = grid(problem.unlimited).best
    if row.candidate == solution.best.candidate:
        return ["The limits change nothing: without them the plan would be the same."]
    other = choice_words(row.candidate, problem)
    missed = _missed(solution, solution.evaluation.index_of(row.candidate))
    return [
        f"Without the limits the plan would be {other}, which "
        f"{_versus(row, solution.best, problem)}; with it {missed}."
    ]


def _stages(row: Row, problem: Problem) -> dict[str, float]:
    """What each stage adds to the time that counts [s]: what only travels sets no pace."""
    p = row.prediction
    if problem.objective is Objective.LATENCY:
        return {"the robot": p.head_s, "the link": p.link_s, "the server": p.tail_s}
    stages = {"the robot": p.head_s, "the link": p.occupancy_s, "the server": p.tail_s}
    if p.window is not None:
        stages[f"the window of {p.window} in flight"] = p.latency_s / p.window
    return stages


def _link_of(problem: Problem, candidate: Candidate) -> LinkSpec | None:
    if not candidate.server:
        return None
    return problem.links[problem.tables.axes.servers.index(candidate.server)]


def _time_s(prediction: CandidateCost, problem: Problem) -> float:
    return time_s(problem.objective, prediction.latency_s, prediction.pace_s)


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
