"""What is measured of one robot while a plan is in force, and when that is news."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection
from dataclasses import replace

import numpy as np

from codesign_ros.cost.lateness import Spreads
from codesign_ros.planning.objective import Objective
from codesign_ros.planning.problem import CandidateCost, Row
from codesign_ros.runtime.device import WINDOW_FRAMES, Device, Role, StageMedians
from codesign_ros.runtime.planner.basis import Basis, Factors, differ, difference_text
from codesign_ros.runtime.planner.changes import Change
from codesign_ros.runtime.planner.learned.correction import Correction
from codesign_ros.runtime.planner.learned.pace import Pace
from codesign_ros.runtime.planner.learned.payloads import PayloadCorrection
from codesign_ros.runtime.planner.learned.stages import StageCorrections
from codesign_ros.runtime.planner.steadiness import Steadiness
from codesign_ros.types.codec_names import codec_family
from codesign_ros.types.plan import Plan

# Faster than this the link is not what limits a plan, and its measurement is mostly noise [bit/s].
FAST_BPS = 1e9
# A change of the link is an event if the rate is so many times off, by so many standard errors, in
# so many announcements in a row, and changes the time of a payload of this size, which is about
# what embeddings have, by this much: on a fast link the measured rate is mostly noise. Where it is
# off by much more, it is so at once.
_OTHER_RATE, _RATE_ERRORS = 1.25, 1.0
_OUT_OF_BAND = 2
_FAR_RATE, _FAR_ERRORS = 2.0, 3.0
_REFERENCE_BYTES = 32_768
_LEAST_CHANGE_S = 0.005
# What the rate may be off by where the head does not say (a standard deviation of its logarithm).
_RATE_SPREAD = 0.05
# Frames before which a plan's times count nothing: the first ones warm up engines and caches.
_LEAST_FRAMES = 5
# Weight of a new report in what is known of the gaps between frames.
_GAP_WEIGHT = 0.2
# The problem is solved again no more often than [s]: soon after a change another is unlikely, and
# the server has better things to do.
_REVIEW_S, _HELD_REVIEW_S = 1.0, 5.0


class RobotWatch:
    """Compares what a robot's head reports with what its plan expected.

    Args:
        cuts: N+1, the number of cuts.
    """

    def __init__(self, cuts: int) -> None:
        self.steadiness = Steadiness()
        self._cuts = cuts
        self._sendable = False
        self._out_of_band = 0
        self._basis: Basis | None = None
        # What was believed when the plan in force was new; at the last solve, and when that was.
        self._adopted: Basis | None = None
        self._solved: tuple[Factors, float] | None = None
        self._solved_s = -math.inf
        self._running = StageMedians()
        self._stages = StageCorrections(cuts)
        self._payloads = PayloadCorrection()
        self._pace = Pace()
        # What passes between two frames in a row beside the stage [s]; not known at first.
        self._gaps_s: dict[Role, float] = {}
        # A device is not throttled any more, and frames before which medians are of before.
        self._recovered = False
        self._fresh_frames = 0
        # The tail that serves, and what is known of those that did before, by node.
        self._tail = ""
        self._other_tails: dict[str, Correction] = {}

    def serve_by(self, tail: str) -> None:
        """Note which tail serves from now on, by its node; what is known is kept for each."""
        if not tail or tail == self._tail:
            return
        if self._tail:
            known = self._other_tails.pop(tail, Correction(self._cuts))
            self._other_tails[self._tail] = self._stages.change_tail(known)
            self._gaps_s.pop(Role.TAIL, None)
        self._tail = tail

    def forget_tail(self, tail: str) -> None:
        """Note that a tail which does not serve now is not the one that was measured."""
        self._other_tails.pop(tail, None)

    def tail_loads(self) -> dict[str, float]:
        """How many times longer than predicted tails take, where that was measured, by node."""
        known = {**self._other_tails, self._tail: self._stages.tail}
        loads = {node: correction.load for node, correction in known.items()}
        return {node: load for node, load in loads.items() if load is not None}

    def forget(self, *roles: Role, now_s: float) -> None:
        """Begin anew with these devices: they are not those that were measured.

        Nothing is compared until the next plan.
        """
        for role in roles:
            self._gaps_s.pop(role, None)
            self._stages.forget(role)
        if Role.HEAD in roles:
            self._payloads = PayloadCorrection()
            self._pace = Pace()
        self.steadiness.event(now_s)
        self._basis = self._solved = None

    def throttle(self, role: Role, throttled: bool, now_s: float) -> None:
        """Note whether a device is throttled."""
        if self._stages.throttle(role, throttled, now_s):
            self._recovered |= not throttled
            self.steadiness.event(now_s)

    def retimed(self, role: Role, cuts: Collection[int], now_s: float) -> None:
        """Note that a device has other times for these cuts now; its load stays as learned."""
        if not cuts:
            return
        self._stages.retimed(role, cuts)
        self.steadiness.event(now_s)

    def factors(self, objective: Objective) -> Factors:
        """What the model's times should be multiplied by for a plan of the next minutes.

        Args:
            objective: what is planned for.
        """
        stages = self._stages.of(objective)
        head, tail = (stage.lasting_factors() for stage in stages)
        head_gap_s, tail_gap_s = (self._gaps_s.get(role, 0.0) for role in (Role.HEAD, Role.TAIL))
        noise = (stage.noise for stage in stages)
        # Reports are medians of some frames, which vary more (normal: sqrt(2 n / pi) as much).
        spreads = Spreads(*(math.sqrt(2 * WINDOW_FRAMES / math.pi) * each for each in noise))
        head_passing, tail_passing = (stage.passing for stage in stages)
        return Factors(
            head,
            tail,
            head_gap_s,
            tail_gap_s,
            spreads,
            sizes=self._payloads.sizes,
            head_passing=head_passing,
            tail_passing=tail_passing,
            frames_hz=self._pace.frames_hz,
        )

    # Plans

    def solved(self, factors: Factors, link_bps: float, sendable: bool, now_s: float) -> None:
        """Note with what, and for which kind of frames, a problem was just solved."""
        self._solved, self._solved_s = (factors, link_bps), now_s
        self._sendable = sendable

    def follow(self, basis: Basis) -> None:
        """Compare with this from now on: its plan is in force."""
        if self._basis is None or basis.plan.epoch != self._basis.plan.epoch:
            self._running = StageMedians()
            self._recovered, self._fresh_frames = False, 0
            self._adopted = basis
        self._basis = basis

    @property
    def plan(self) -> Plan | None:
        """The plan in force; None once a device that followed it is not the same any more."""
        return self._basis.plan if self._basis else None

    @property
    def prediction(self) -> CandidateCost | None:
        """What the plan in force is expected to take; None while that is not known."""
        return self._basis.prediction if self._basis else None

    @property
    def measured(self) -> StageMedians | None:
        """What it really takes; None before some frames have shown it."""
        return self._running if self._running.frames else None

    def spread(self, here: Row, there: Row, objective: Objective, rate_error: float) -> float:
        """How far off the logarithm of two plans' ratio may be (a standard deviation).

        Args:
            here: the plan in force.
            there: the other.
            objective: which time counts.
            rate_error: relative standard error of the link's rate; 0 = not known.
        """
        (head_a, link_a, tail_a), (head_b, link_b, tail_b) = (
            _shares(row.prediction, objective) for row in (here, there)
        )
        variance = ((link_a - link_b) * (rate_error or _RATE_SPREAD)) ** 2
        shares = (head_a, head_b), (tail_a, tail_b)
        for stage, (a, b) in zip(self._stages.of(objective), shares, strict=True):
            weights = np.zeros(self._cuts)
            weights[here.candidate.cut] += a
            weights[there.candidate.cut] -= b
            variance += stage.spread(weights) ** 2
        sent: defaultdict[tuple[int, str], float] = defaultdict(float)
        for row, share in ((here, link_a), (there, -link_b)):
            sent[row.candidate.cut, codec_family(row.candidate.codec)] += share
        return math.sqrt(variance + self._payloads.variance(sent))

    # News

    def take(self, device: Device, now_s: float) -> None:
        """Take what the head measured while running."""
        self._stages.fade(now_s)
        for correction in self._other_tails.values():
            correction.fade(now_s)
        self._payloads.fade(now_s)
        basis, running = self._basis, device.running
        self._pace.take(running, now_s)
        if basis is None or running.epoch != basis.plan.epoch:
            return
        if self._recovered:
            self._recovered, self._fresh_frames = False, running.frames + WINDOW_FRAMES
        if running.frames < max(_LEAST_FRAMES, self._fresh_frames, self._running.frames + 1):
            return
        self._running = running
        for role, gap_s in ((Role.HEAD, running.head_gap_s), (Role.TAIL, running.tail_gap_s)):
            if gap_s > 0:
                known_s = self._gaps_s.get(role, gap_s)
                self._gaps_s[role] = known_s + _GAP_WEIGHT * (gap_s - known_s)
        plan, expected, factors = basis.plan, basis.prediction, basis.factors
        head_s = expected.head_s / factors.head[plan.cut]
        tail_s = expected.tail_s / factors.tail[plan.cut]
        if self._stages.report(plan, running, head_s, tail_s, now_s):
            self.steadiness.load()
        if device.profile is not None:
            # The size of a camera's own JPEGs the head says itself.
            as_camera = device.frame_bytes > 0 and (plan.cut, plan.codec) == (0, "jpeg")
            sent = () if as_camera else running.payloads
            profiled = device.profile.payload_bytes(plan.precision)
            if self._payloads.report(plan.epoch, plan.cut, sent, profiled, now_s):
                self.steadiness.load()

    def changes(self, device: Device, now_s: float) -> list[Change]:
        """What really changed by what the head says; it is worth a line in the log."""
        if self._basis is None or not self._basis.plan.server_available:
            self._out_of_band = 0
            return []
        change = self._frames_change(device) or self._link_change(device)
        if change is None:
            return []
        self.steadiness.event(now_s)
        self._solved_s = now_s  # the change is reason enough
        return [Change(change, optional=True)]

    def review(
        self,
        device: Device,
        objective: Objective,
        corrects: bool,
        now_s: float,
        *,
        shares: bool = False,
    ) -> str | None:
        """Why to solve again: what is measured is another time or rate than at the last solve.

        Args:
            device: the head, with the link's rate.
            objective: what is planned for.
            corrects: whether stage times count.
            now_s: the time on any steady clock [s].
            shares: whether the robot shares something, so that the number of its frames counts.
        """
        basis, solved = self._basis, self._solved
        every_s = _HELD_REVIEW_S if self.steadiness.is_held(now_s) else _REVIEW_S
        if basis is None or solved is None or now_s < self._solved_s + every_s:
            return None
        rate_bps = basis.link_bps
        if basis.plan.server_available and device.link_bps > 0:
            rate_bps = min(device.link_bps, FAST_BPS)
        factors = self.factors(objective) if corrects else basis.factors
        if not shares:
            factors = replace(factors, frames_hz=None)
        if not differ(solved, (factors, rate_bps)):
            return None
        assert self._adopted is not None
        return difference_text(self._adopted, factors, rate_bps)

    def _link_change(self, device: Device) -> str | None:
        """Whether the measured rate is another one than was planned with, noise aside."""
        assert self._basis is not None
        planned_bps, measured_bps = self._basis.link_bps, min(device.link_bps, FAST_BPS)
        if measured_bps <= 0:
            self._out_of_band = 0
            return None
        change_s = abs(8 * _REFERENCE_BYTES / measured_bps - 8 * _REFERENCE_BYTES / planned_bps)
        off = abs(math.log(measured_bps / planned_bps))
        error = device.link_bps_error / measured_bps
        inside = off <= max(math.log(_OTHER_RATE), _RATE_ERRORS * error)
        if inside or change_s < _LEAST_CHANGE_S:
            self._out_of_band = 0
            return None
        self._out_of_band += 1
        is_far = off > max(math.log(_FAR_RATE), _FAR_ERRORS * error)
        if self._out_of_band < _OUT_OF_BAND and not is_far:
            return None
        self._out_of_band = 0
        return f"link rate {planned_bps / 1e6:.1f} -> {measured_bps / 1e6:.1f} Mbit/s"

    def _frames_change(self, device: Device) -> str | None:
        """Whether the camera's frames became such that cut 0 can send them as they are, or not."""
        sendable = device.frame_bytes > 0
        if sendable == self._sendable:
            return None
        self._sendable = sendable
        if sendable:
            return f"the camera's JPEGs ({device.frame_bytes / 1e3:.0f} kB) fit the network's input"
        return "the camera's frames do not fit the network's input any more"


def _shares(cost: CandidateCost, objective: Objective) -> tuple[float, float, float]:
    """By which share of itself the objective grows where a stage takes longer.

    A gap between frames counts as part of its stage: both take longer under a load.
    """
    is_latency = objective is Objective.LATENCY
    stages_s = cost.head_s, cost.link_s if is_latency else cost.occupancy_s, cost.tail_s
    if is_latency:
        whole_s = sum(stages_s)
        shares = [s / whole_s if whole_s > 0 else 0.0 for s in stages_s]
    else:
        gaps_s = cost.head_gap_s, 0.0, cost.tail_gap_s
        slowest = int(np.argmax(np.add(stages_s, gaps_s)))
        shares = [float(number == slowest) for number in range(len(stages_s))]
    return shares[0], shares[1], shares[2]
