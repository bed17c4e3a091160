"""Fleets in simulated time: how many robots a server keeps within a deadline, policy by policy."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import simpy

from codesign_ros.planning.fleet.options import options
from codesign_ros.planning.fleet.robots import FleetRobot
from codesign_ros.planning.fleet.solve import share
from codesign_ros.planning.policies import POLICIES, Situation
from codesign_ros.planning.problem import Row
from codesign_ros.simulation.line import Line
from codesign_ros.simulation.link_rate import StateRate
from codesign_ros.simulation.robot import Robot, Seen
from codesign_ros.simulation.work import STEADY, Varies, Work, gaps_s
from codesign_ros.types.errors import CodesignError, did_you_mean
from codesign_ros.types.links import LinkSpec

OURS = "ours"
# What comes in this share of the time is left out: queues fill first.
_WARM = 0.2
# The most robots are found to this share.
_NEAR = 1.05


@dataclass(frozen=True)
class Conditions:
    """How a fleet is simulated.

    Attributes:
        rate_hz: frames a second of each robot [Hz].
        deadline_s: what 95 % of the frames must keep [s]; a dropped frame does not.
        seconds: simulated time [s].
        arrivals: one of ``work.ARRIVALS``.
        spread: how far times and sizes vary.
        seed: of all that is drawn.
    """

    rate_hz: float
    deadline_s: float
    seconds: float = 10.0
    arrivals: str = "rate"
    spread: Varies = STEADY
    seed: int = 0


@dataclass(frozen=True)
class FleetPoint:
    """What a fleet of some size reaches under a policy; simulated.

    Attributes:
        policy, robots: whose plans, and how many robots.
        frames_s: answered frames a second of each robot, on the average [1/s].
        p50_s, p95_s: of the response times, those of dropped frames infinite [s].
        dropped: share of the frames that were dropped.
        server_busy, link_busy: share of the time that server and uplink worked.
        plans: robots by their plan, in words.
        refused: why the policy has no plan here; then nothing else is known.
    """

    policy: str
    robots: int
    frames_s: float = 0.0
    p50_s: float = math.inf
    p95_s: float = math.inf
    dropped: float = 1.0
    server_busy: float = 0.0
    link_busy: float = 0.0
    plans: tuple[tuple[str, int], ...] = ()
    refused: str = ""

    def keeps(self, deadline_s: float) -> bool:
        """Whether 95 % of the frames keep a deadline."""
        return self.p95_s <= deadline_s

    def to_json(self) -> dict[str, Any]:
        """All of it; null where a time is infinite."""
        values = asdict(self)
        finite = {
            k: None if isinstance(v, float) and math.isinf(v) else v for k, v in values.items()
        }
        return {**finite, "plans": dict(self.plans)}


def check_policy(policy: str) -> None:
    """Refuse a policy that nobody knows.

    Raises:
        CodesignError: the line says which there are.
    """
    if policy not in POLICIES:
        near = did_you_mean(policy, POLICIES)
        raise CodesignError(f"unknown policy {policy!r}{near}; known are {', '.join(POLICIES)}")


def fleet_rows(situation: Situation, policy: str, robots: int, rate_hz: float) -> list[Row]:
    """Plan a fleet of robots that are alike, share one link and one server.

    Ours plans for all together, as the running planner does with ``shared``; another policy
    decides for each robot as if there were no others.

    Returns:
        Each robot's choice, its times those on an idle link and server.

    Raises:
        CodesignError: there is no such policy, or it cannot choose here.
    """
    check_policy(policy)
    problem = situation.problem
    if policy != OURS:
        decision = POLICIES[policy].decide(situation)
        if decision.cloud_cut is not None:
            raise CodesignError(f"policy {policy} needs a cloud, which a simulated fleet has not")
        return [decision.row] * robots
    choices = options(problem)
    fleet = [
        FleetRobot(f"robot {n}", choices, problem.links[0], 1.0, 1.0, problem.lambda_1, rate_hz)
        for n in range(1, robots + 1)
    ]
    evaluation = choices.evaluation
    planned = share(fleet).rows
    return [evaluation.row(evaluation.index_of(row.candidate)) for row in planned]


def simulate_fleet(
    situation: Situation, policy: str, robots: int, conditions: Conditions
) -> FleetPoint:
    """Plan a fleet and let it run."""
    try:
        rows = fleet_rows(situation, policy, robots, conditions.rate_hz)
    except CodesignError as error:
        if policy not in POLICIES:
            raise
        return FleetPoint(policy, robots, refused=str(error))
    answer_bytes = situation.problem.tables.answer_bytes or 0.0
    works = [Work.of_cost(r.prediction, bool(r.candidate.server), answer_bytes) for r in rows]
    seen, busy_s, uplink_s = run_fleet(works, situation.problem.links[0], conditions)
    answered = np.array([t for each in seen for t in each.responses_s])
    dropped = sum(len(each.dropped_s) for each in seen)
    counts = Counter(f"cut {r.candidate.cut} {r.candidate.codec}" for r in rows)
    responses = np.append(answered, np.full(dropped, np.inf))
    p50_s, p95_s = (
        np.quantile(responses, (0.5, 0.95), method="higher").tolist()
        if len(responses)
        else (math.inf, math.inf)
    )
    return FleetPoint(
        policy,
        robots,
        len(answered) / robots / ((1 - _WARM) * conditions.seconds),
        p50_s,
        p95_s,
        dropped / max(1, len(responses)),
        min(1.0, busy_s / conditions.seconds),
        min(1.0, uplink_s / conditions.seconds),
        tuple(counts.most_common()),
    )


def run_fleet(
    works: Sequence[Work], link: LinkSpec, conditions: Conditions
) -> tuple[list[Seen], float, float]:
    """Let robots run that share a link and a server.

    Args:
        works: what each robot's frames ask for.
        link: the link.
        conditions: how.

    Returns:
        What was seen of each robot once queues had filled, and for how long server and uplink
        worked in all [s].
    """
    env = simpy.Environment()
    uplink = Line(env, StateRate(link), link.delay_s, link.burst_bytes)
    downlink = Line(env, StateRate(LinkSpec(link.back_bps)), link.back_delay_s)
    server = simpy.Resource(env)
    rngs = (np.random.default_rng([conditions.seed, number]) for number in range(len(works)))
    robots = []
    for work, rng in zip(works, rngs, strict=True):
        robot = Robot(env, work, uplink, downlink, server, rng, conditions.spread)
        robot.play(gaps_s(conditions.arrivals, conditions.rate_hz, rng))
        robots.append(robot)
    env.run(until=conditions.seconds)
    start_s = _WARM * conditions.seconds
    served_s = sum(robot.served_s for robot in robots)
    return [robot.seen.since(start_s) for robot in robots], served_s, uplink.busy_s


def fleet_curve(
    situation: Situation,
    policies: Sequence[str],
    counts: Sequence[int],
    conditions: Conditions,
    progress: Callable[[str], None] = lambda text: None,
) -> Iterator[FleetPoint]:
    """Simulate fleets of several sizes under several policies."""
    for policy in policies:
        for robots in sorted(set(counts)):
            progress(f"{policy}, {robots} robots")
            yield simulate_fleet(situation, policy, robots, conditions)


def most_robots(
    situation: Situation,
    policy: str,
    points: Sequence[FleetPoint],
    conditions: Conditions,
    progress: Callable[[str], None] = lambda text: None,
) -> tuple[int, bool]:
    """Find how many robots keep the deadline, to 5 %, between the sizes that were simulated.

    Args:
        situation: what the policies decide upon.
        policy: whose.
        points: those of the policy, by rising size.
        conditions: as they were.
        progress: is told what is being simulated.

    Returns:
        The number, and whether that is the largest size that was simulated, so that more may do.
    """
    kept = 0
    for point in points:
        if not point.keeps(conditions.deadline_s):
            break
        kept = point.robots
    else:
        return kept, True
    failed = point.robots
    while failed - kept > 1 and failed > _NEAR * kept:
        middle = (kept + failed) // 2
        progress(f"{policy}, {middle} robots")
        fits = simulate_fleet(situation, policy, middle, conditions).keeps(conditions.deadline_s)
        kept, failed = (middle, failed) if fits else (kept, middle)
    return kept, False
