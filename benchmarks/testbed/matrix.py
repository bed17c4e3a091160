"""The cells of the matrix, and one cell after the other on the real nodes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codesign_ros.engines.cache import default_cache_dir
from codesign_ros.testbed.bed import LinkShape
from codesign_ros.testbed.measurement import Measurement, merged
from codesign_ros.testbed.session import Session, Setup
from codesign_ros.types import CodesignError

# Codecs that every policy may use which knows compression.
CODECS = ("raw", "fp16+zstd", "uint8+zstd", "uint4+zstd")
OURS = "ours"
# Ours for long, to see how often it changes its plan while nothing else changes.
STEADY = "ours, left alone"
PEERS = ("device_only", "server_only_jpeg", "neurosurgeon")
# What is left of ours without its parts; each row has all of the one before and one thing more.
BY_PART: Mapping[str, Mapping[str, Any]] = {
    "ours: cut": {"structures": ["S3"], "codecs": ["raw"]},
    "ours: + structure": {"codecs": ["raw"]},
}
# The bundle's necks are ours; no peer is given one (planning/policies/fair.py).
NECKS = tuple(f"neck.{level}" for level in range(4))
EVERYTHING = {
    "structures": ["S3", "S3+Ss", "S3+S1", "S3+Ss+S1"],
    "codecs": [*CODECS, *NECKS],
}
# Before something is measured: frames under the new plan, and for ours the time to learn [s].
_WARM_FRAMES = 8
_WARM_S = 1.0
_LEARN_S = 15.0
# At a fixed rate the camera sends this share of what the slowest policy reaches.
_EQUAL_RATE = 0.7


@dataclass(frozen=True)
class Matrix:
    """What is measured.

    Attributes:
        rates_bps: rates of the link [bit/s].
        burst_bytes: what passes at once after a pause [bytes].
        robot_cores: shares of a core that the robot has.
        precisions: of both halves.
        objectives: what ours plans for.
        policies: whom to compare.
        rounds: how often each is in force in its turn.
        seconds: how long each is watched in a round [s].
        steady_s: how long ours is left alone at the end, its plans counted [s]; 0 = not at all.
        equal_rate: whether response times at an equal rate are measured too.
    """

    rates_bps: Sequence[float]
    burst_bytes: int
    robot_cores: Sequence[float]
    precisions: Sequence[str]
    objectives: Sequence[str]
    policies: Sequence[str]
    rounds: int
    seconds: float
    steady_s: float
    equal_rate: bool

    def cells(self) -> Iterator[Setup]:
        """List the cells."""
        for precision, cores, objective, rate_bps in itertools.product(
            self.precisions, self.robot_cores, self.objectives, self.rates_bps
        ):
            yield Setup(
                LinkShape(rate_bps, self.burst_bytes),
                cores,
                precision=precision,
                objective=objective,
                planner={"codecs": list(CODECS)},
            )


def measure_cell(setup: Setup, matrix: Matrix) -> list[dict[str, Any]] | str:
    """Measure one cell, and print what goes on; what came of it as JSON, or why nothing did."""
    cache = default_cache_dir() / "testbed"
    try:
        found = run_cell(setup, matrix, cache, lambda line: print(line, flush=True))
    except CodesignError as error:
        return str(error)
    return [each.to_json() for each in found]


def run_cell(
    setup: Setup, matrix: Matrix, cache: Path, tell: Callable[[str], None]
) -> list[Measurement]:
    """Measure one cell: every policy as fast as it goes, in turn; then all at an equal rate.

    A policy that cannot choose here has no row; ``tell`` is told why.

    Raises:
        CodesignError: no bed can be had, or a node did not start.
    """
    with Session(setup, "testbed", cache, tell) as session:
        session.play()
        session.wait_for_frames(_WARM_FRAMES)
        if OURS in matrix.policies:
            _choose(session, OURS)
            session.wait(_LEARN_S)
        found = _in_turn(session, matrix, matrix.policies, None, tell)
        if matrix.steady_s and OURS in matrix.policies:
            _choose(session, OURS)
            found.append(_tell(session.watch(matrix.steady_s, STEADY), tell))
        if matrix.equal_rate and found:
            rate_hz = _EQUAL_RATE * min(each.frames_s for each in found)
            session.play(rate_hz)
            policies = [each.policy for each in found if each.policy != STEADY]
            found += _in_turn(session, matrix, policies, rate_hz, tell)
        return found


def _in_turn(
    session: Session,
    matrix: Matrix,
    policies: Sequence[str],
    rate_hz: float | None,
    tell: Callable[[str], None],
) -> list[Measurement]:
    """Measure policies in rounds; those that can choose."""
    rounds: dict[str, list[Measurement]] = {policy: [] for policy in policies}
    refused = set()
    for number in range(matrix.rounds):
        tell(f"round {number + 1} of {matrix.rounds}")
        for policy in policies:
            if policy in refused:
                continue
            try:
                _choose(session, policy)
            except CodesignError as error:
                refused.add(policy)
                tell(f"{policy}: {error}")
            else:
                found = session.watch(matrix.seconds, policy, rate_hz)
                rounds[policy].append(_tell(found, tell))
    return [merged(of_policy) for of_policy in rounds.values() if of_policy]


def _choose(session: Session, policy: str) -> None:
    """Put a policy in force and wait until frames show it."""
    session.set_planner(EVERYTHING | dict(BY_PART.get(policy, {})))
    session.set_policy(OURS if policy in BY_PART else policy)
    session.wait_for_epoch(session.plan.epoch, _WARM_FRAMES)
    session.wait(_WARM_S)


def _tell(found: Measurement, tell: Callable[[str], None]) -> Measurement:
    tell(f"{found.policy}: {found.frames_s:.1f} frames/s, {found.plan}, {found.plans} plans")
    for reason in found.reasons:
        tell(f"  {reason}")
    return found
