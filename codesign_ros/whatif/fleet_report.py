"""A fleet's plan as tables for people and as plain values for JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.table import Table

from codesign_ros.console import right, slim_table
from codesign_ros.planning.problem import Row
from codesign_ros.whatif.fleet import PlannedFleet
from codesign_ros.whatif.report import cut_name, row_json, structures_name


def fleet_json(planned: PlannedFleet) -> dict[str, Any]:
    """What ``codesign plan --fleet --json`` writes; ``objective`` is L of Eq. 11 [s]."""
    plan, alone = planned.plan, planned.alone
    each = zip(planned.groups, planned.robots, plan.rows, strict=True)
    return {
        "robots": [
            {
                "robot": robot.name,
                "group": group.name,
                "device": group.device.name,
                "link": group.link.name,
                "frame_rate_hz": group.frame_rate_hz,
                "lambda_1": robot.lambda_1,
                **row_json(row),
                "link_share": float(plan.link_shares[i]),
                "server_share": float(plan.server_shares[i]),
                "alone": row_json(alone.rows[i]),
                "alone_then_sharing": row_json(alone.sharing[i]) if alone.sharing else None,
            }
            for i, (group, robot, row) in enumerate(each)
        ],
        "filled_by_frame_rates": plan.uses,
        "objective": plan.objective_s,
        "lower_bound": plan.lower_bound_s,
        "gap": plan.gap,
        "alone": _objective_s(alone.rows),
        "alone_then_sharing": _objective_s(alone.sharing) if alone.sharing else None,
        "alone_then_sharing_filled_by_frame_rates": alone.uses,
        "solve_ms": plan.solve_s * 1e3,
        "notes": planned.notes,
    }


def fleet_report(planned: PlannedFleet) -> list[Table | str]:
    """All that is printed: the robots' plans, what they share, the totals, and notes."""
    notes = (f"note: {note}" for note in planned.notes)
    return [*_plans(planned), _shared(planned), _totals(planned), *notes]


def _plans(planned: PlannedFleet) -> tuple[Table, Table]:
    """Choices and times, one line for those robots of a group that do the same."""
    choices = slim_table(
        "Plan of each robot in the fleet (predicted, not run)",
        *("robots", "device", "cut", "structure", "precision", "codec", *right("loss")),
    )
    times = slim_table(
        "Its shares and times (predicted); alone: if it shared with nobody",
        *("robots", "cut", "link", "server"),
        *right("T1 ms", "T3 ms", "T2 ms", "sum", "alone"),
    )
    plan = planned.plan
    names = [group.name for group in planned.groups]
    keys = [(name, row.candidate) for name, row in zip(names, plan.rows, strict=True)]
    last = planned.robots[0].options.evaluation.problem.tables.segments
    for key, count in Counter(keys).items():
        (name, c), robot = key, keys.index(key)
        group, p = planned.groups[robot], plan.rows[robot].prediction
        cut = cut_name(c.cut, last)
        choices.add_row(
            f"{count} {name}",
            group.device.name,
            cut,
            structures_name(c),
            c.precision,
            c.codec if c.server else "",
            f"{p.accuracy_loss:.4f}",
        )
        times.add_row(
            f"{count} {name}",
            cut,
            f"{plan.link_shares[robot]:.1%} of {group.link.name}" if c.server else "",
            f"{plan.server_shares[robot]:.1%} of {c.server}" if c.server else "",
            *(f"{t * 1e3:.1f}" for t in (p.head_s, p.link_s, p.tail_s, p.latency_s)),
            f"{planned.alone.rows[robot].prediction.latency_s * 1e3:.1f}",
        )
    return choices, times


def _shared(planned: PlannedFleet) -> Table:
    """The links and servers: who uses them, and what the frames that must be kept up with fill."""
    columns = right("robots", "filled by their frames", "and if each planned alone")
    table = slim_table("What they share (predicted)", "shared", *columns)
    sending = Counter[str]()
    for group, row in zip(planned.groups, planned.plan.rows, strict=True):
        if row.candidate.server:
            sending.update((f"link {group.link.name}", f"server {row.candidate.server}"))
    for name, use in planned.plan.uses.items():
        table.add_row(name, str(sending[name]), f"{use:.1%}", f"{planned.alone.uses[name]:.1%}")
    return table


def _totals(planned: PlannedFleet) -> Table:
    """The joint plan beside each robot planning alone, and the bound."""
    plan, alone = planned.plan, planned.alone
    title = "The whole fleet (predicted); L = latency + lambda_1 * loss, summed"
    table = slim_table(title, "", *right("mean ms", "mean loss", "L s", "above the bound"))
    for name, rows in (
        ("planned together", plan.rows),
        ("each plans alone, then all share", alone.sharing),
        ("each alone, as if nothing were shared", alone.rows),
    ):
        if not rows:
            table.add_row(name, "not possible: frames would fill more than there is", "", "", "")
            continue
        total_s = _objective_s(rows)
        predictions = [row.prediction for row in rows]
        table.add_row(
            name,
            f"{1e3 * sum(p.latency_s for p in predictions) / len(rows):.1f}",
            f"{sum(p.accuracy_loss for p in predictions) / len(rows):.4f}",
            f"{total_s:.4f}",
            "" if rows is alone.rows else f"{max(0.0, total_s / plan.lower_bound_s - 1.0):.3%}",
        )
    table.add_row("no plan can have less than", "", "", f"{plan.lower_bound_s:.4f}", "")
    return table


def _objective_s(rows: Sequence[Row]) -> float:
    """Sum of the robots' objectives, L of Eq. 11 [s]."""
    return sum(row.prediction.objective for row in rows)
