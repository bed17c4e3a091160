"""A solution as a table for people and as plain values for JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rich.table import Column, Table

from codesign_ros.console import ms, right, slim_table
from codesign_ros.planning.grid import Solution
from codesign_ros.planning.objective import time_s
from codesign_ros.planning.policies import PARTS_OF_OURS, POLICIES, Decision, Situation
from codesign_ros.planning.problem import Candidate, Row
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import Merge, Structure


def decide_all(situation: Situation) -> dict[str, Decision | str]:
    """Ask every policy; where one cannot plan here, the reason stands in place of its decision."""
    decisions: dict[str, Decision | str] = {}
    for name, policy in POLICIES.items():
        try:
            decisions[name] = policy.decide(situation)
        except CodesignError as error:
            decisions[name] = str(error)
    return decisions


def plan_json(
    solution: Solution, situation: Situation, decisions: Mapping[str, Decision | str]
) -> dict[str, Any]:
    """What ``codesign plan --json`` writes.

    Args:
        solution: all candidates and the plan that was asked for.
        situation: what the policies decided upon.
        decisions: what each policy would do, or why it cannot.
    """
    problem = solution.problem
    return {
        "best": row_json(solution.best),
        "runners_up": [row_json(row) for row in solution.best_of_each_cut()[1:]],
        "candidates": solution.candidates,
        "solve_ms": solution.solve_s * 1e3,
        "objective": problem.objective.value,
        "lambda_1": problem.lambda_1,
        "metric": problem.tables.metric,
        "reference": problem.tables.reference,
        "coding": problem.tables.coding,
        "notes": list(problem.tables.notes),
        "policies": {
            name: {"unavailable": decision}
            if isinstance(decision, str)
            else decision_json(decision, situation)
            for name, decision in decisions.items()
        },
    }


def row_json(row: Row) -> dict[str, Any]:
    """One plan; times in ms, ``wire_ms`` is T3 there and back; ``objective`` is L of Eq. 11 [s]."""
    c, p = row.candidate, row.prediction
    return {
        **asdict(c),
        "head_ms": p.head_s * 1e3,
        "wire_ms": p.link_s * 1e3,
        "occupancy_ms": p.occupancy_s * 1e3,
        "tail_ms": p.tail_s * 1e3,
        "latency_ms": p.latency_s * 1e3,
        "throughput_fps": p.throughput_fps,
        "accuracy_loss": p.accuracy_loss,
        "loss_error": p.loss_error,
        "payload_bytes": p.payload_bytes,
        "energy_j": p.energy_j,
        "objective": p.objective,
    }


def decision_json(decision: Decision, situation: Situation) -> dict[str, Any]:
    """What one policy would do; with a cloud, latency and throughput are those of all tiers.

    A choice that breaks a limit is not in the decision space: ours could not have made it.
    """
    broken = list(decision.broken_limits(situation))
    return {
        **row_json(decision.row),
        "latency_ms": decision.latency_s * 1e3,
        "throughput_fps": decision.throughput_fps,
        "cloud_cut": decision.cloud_cut,
        "cloud_ms": decision.cloud_s * 1e3,
        "cloud_link_ms": decision.cloud_link_s * 1e3,
        "note": decision.note,
        "in_decision_space": decision.in_decision_space and not broken,
        "broken_limits": broken,
    }


def best_cuts_table(solution: Solution, top: int) -> Table:
    """The best plan of the ``top`` best cuts, and always those of device-only and server-only."""
    coding = solution.problem.tables.coding
    table = slim_table(
        f"Best plan of each cut (predicted, not run); {solution.candidates} candidates in "
        f"{solution.solve_s * 1e3:.1f} ms"
        + (f"\ncodecs, JPEG and preparation: {coding}" if coding else ""),
        *("cut", "head", "tail", "precision", "codec"),
        *right("T1 ms", "T3 ms", "T2 ms", "sum", "1/s", "loss", "\N{PLUS-MINUS SIGN}"),
    )
    rows = solution.best_of_each_cut()
    last = solution.problem.tables.segments
    for row in rows[:top] + [row for row in rows[top:] if row.candidate.cut in (0, last)]:
        c, p = row.candidate, row.prediction
        table.add_row(
            cut_name(c.cut, last),
            *(_structure_name(each, c) for each in (c.head_structure, c.tail_structure)),
            c.precision,
            c.codec,
            *(f"{t * 1e3:.1f}" for t in (p.head_s, p.link_s, p.tail_s, p.latency_s)),
            f"{p.throughput_fps:.1f}",
            f"{p.accuracy_loss:.4f}",
            "" if p.loss_error is None else f"{p.loss_error:.4f}",
        )
    return table


def policies_table(situation: Situation, decisions: Mapping[str, Decision | str]) -> Table:
    """What each policy would do under the same cost model, the least objective first."""
    table = slim_table(
        "What each policy would do, by the same cost model (predicted, not run)",
        Column("policy", no_wrap=True),
        *("cut", "structure", "precision", "codec", *right("ms", "1/s", "loss", "L")),
    )
    last = situation.problem.tables.segments
    known = [(name, d) for name, d in decisions.items() if not isinstance(d, str)]
    for name, decision in sorted(known, key=lambda item: item[1].row.prediction.objective):
        c, p = decision.row.candidate, decision.row.prediction
        cut = cut_name(c.cut, last)
        table.add_row(
            name,
            cut if decision.cloud_cut is None else f"{c.cut}, cloud from {decision.cloud_cut}",
            structures_name(c),
            c.precision,
            c.codec,
            f"{decision.latency_s * 1e3:.1f}",
            f"{decision.throughput_fps:.1f}",
            f"{p.accuracy_loss:.4f}",
            f"{p.objective:.4f}",
        )
    for name, why in decisions.items():
        if isinstance(why, str):
            table.add_row(name, "n/a", *[""] * 7)
    return table


def gains_line(situation: Situation, decisions: Mapping[str, Decision | str]) -> str:
    """Say what each part of ours gains over the one before it, by the time that counts."""
    said: list[str] = []
    before_s = 0.0
    for policy in (*PARTS_OF_OURS, POLICIES["ours"]):
        decision = decisions[policy.name]
        if isinstance(decision, str):
            return f"what each part of ours gains is not known: {policy.name}: {decision}"
        takes_s = time_s(situation.problem.objective, decision.latency_s, decision.pace_s)
        part = "precision" if policy.name == "ours" else policy.name.rpartition("_")[2]
        said.append(
            f"{part} {before_s / takes_s:.2f} x" if said else f"{part} alone {ms(takes_s)} a frame"
        )
        before_s = takes_s
    return f"ours by part: {', '.join(said)}"


def policy_notes(situation: Situation, decisions: Mapping[str, Decision | str]) -> list[str]:
    """What led to the policies' choices, which limits they break, or why they cannot plan here."""
    notes = []
    for name, decision in decisions.items():
        if isinstance(decision, str):
            notes.append(f"{name}: {decision}")
            continue
        said = [text for text in (decision.note, *decision.broken_limits(situation)) if text]
        if said:
            notes.append(f"{name}: {'; '.join(said)}")
    return notes


def cut_name(cut: int, last: int) -> str:
    """Name a cut of ``last`` segments, and who does all at either end."""
    return {0: "0 server", last: f"{cut} robot"}.get(cut, str(cut))


def structures_name(candidate: Candidate) -> str:
    """Name the structures of head and tail, once if both have the same."""
    pair = (candidate.head_structure, candidate.tail_structure)
    return " | ".join(dict.fromkeys(_structure_name(each, candidate) for each in pair))


def _structure_name(structure: Structure, candidate: Candidate) -> str:
    fold = candidate.merge is Merge.FOLD
    return structure.value if fold else f"{structure.value} {candidate.merge.value}"
