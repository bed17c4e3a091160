"""What is measured of one robot while a plan is in force, and when that is news."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from codesign_ros.planning.problem import CandidateCost
from codesign_ros.runtime.device import WINDOW_FRAMES, Device, Role, StageMedians
from codesign_ros.runtime.planner.changes import Change
from codesign_ros.runtime.planner.correction import Correction, differ
from codesign_ros.types import Plan

# Faster than this the link is not what limits a plan, and its measurement is mostly noise [bit/s].
FAST_BPS = 1e9
# A change of the link matters if it changes the time of a payload of this size, which is about what
# embeddings have, by this much: on a fast link the measured rate is mostly noise.
_REFERENCE_BYTES = 32_768
_LEAST_CHANGE_S = 0.005
# A measured rate must be out of its band in so many announcements in a row.
_OUT_OF_BAND = 3
# Frames before which a plan's times count nothing: the first ones warm up engines and caches.
_LEAST_FRAMES = 5
# The link's rate is measured by itself; a factor is for what the rate does not say, and no more.
_MOST_OF_LINK = 3.0


@dataclass(frozen=True, eq=False)
class Factors:
    """By what the model's times are multiplied.

    Attributes:
        head, tail: for each cut, (N+1,).
        link: for whatever crosses, (1,).
    """

    head: np.ndarray
    link: np.ndarray
    tail: np.ndarray

    @classmethod
    def none(cls, cuts: int) -> Factors:
        """Factors that change nothing."""
        return cls(np.ones(cuts), np.ones(1), np.ones(cuts))


@dataclass(frozen=True, eq=False)
class Basis:
    """What was believed when a plan was made, or last found to be good enough.

    Attributes:
        plan: the plan.
        prediction: what it is expected to take, corrected.
        link_bps: the link's rate as it was measured or assumed [bit/s].
        factors: what the model's times were multiplied by.
    """

    plan: Plan
    prediction: CandidateCost
    link_bps: float
    factors: Factors


class RobotWatch:
    """Compares what a robot's head reports with what its plan expected.

    Args:
        cuts: N+1, the number of cuts.
    """

    def __init__(self, cuts: int) -> None:
        self._cuts = cuts
        self._sendable = False
        self._out_of_band = 0
        self._basis: Basis | None = None
        self._running = StageMedians()
        self._devices = {role: Correction() for role in Role}
        self._link = _link_correction()
        # What was known of devices before they became throttled.
        self._before: dict[Role, Correction] = {}
        # A device is not throttled any more, and frames before which medians are of before.
        self._recovered = False
        self._fresh_frames = 0
        self._planned_with = Factors.none(cuts)

    def forget(self, *roles: Role) -> None:
        """Begin anew with these devices and the link: they are not those that were measured.

        Nothing is compared until the next plan.
        """
        for role in roles:
            self._devices[role] = Correction()
            if role in self._before:
                self._before[role] = Correction()
        self._link = _link_correction()
        self._planned_with = self.factors()
        self._basis = None

    def throttle(self, role: Role, throttled: bool, now_s: float) -> None:
        """Note whether a device is throttled.

        What is learned while it is holds only as long: afterwards what was known before counts
        again.
        """
        if throttled and role not in self._before:
            self._before[role] = self._devices[role]
            self._devices[role] = self._before[role].since(now_s)
        elif not throttled and role in self._before:
            self._devices[role] = self._before.pop(role).since(now_s)
            self._recovered = True
            self._planned_with = self.factors()

    def retimed(self, role: Role, cuts: Collection[int]) -> None:
        """Note that a device has other times for these cuts now; its load stays as learned.

        Here and when throttling ends, the change of the factors is no news beside what made it.
        """
        if not cuts:
            return
        self._devices[role].retimed(cuts)
        if role in self._before:
            self._before[role].retimed(cuts)
        self._planned_with = self.factors()

    def factors(self) -> Factors:
        """What the model's times should be multiplied by, as far as is known now."""
        head, tail = (self._devices[role].factors(self._cuts) for role in (Role.HEAD, Role.TAIL))
        return Factors(head, self._link.factors(1), tail)

    # Plans

    def solved(self, factors: Factors, sendable: bool) -> None:
        """Note with which factors, and for which kind of frames, a problem was just solved."""
        self._planned_with = factors
        self._sendable = sendable

    def follow(self, basis: Basis) -> None:
        """Compare with this from now on: its plan is in force."""
        if self._basis is None or basis.plan.epoch != self._basis.plan.epoch:
            self._running = StageMedians()
            self._recovered, self._fresh_frames = False, 0
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

    # News

    def take(self, device: Device, now_s: float) -> None:
        """Take what the head measured while running."""
        for correction in (*self._devices.values(), self._link):
            correction.fade(now_s)
        basis, running = self._basis, device.running
        if basis is None or running.epoch != basis.plan.epoch:
            return
        if self._recovered:
            self._recovered, self._fresh_frames = False, running.frames + WINDOW_FRAMES
        if running.frames < max(_LEAST_FRAMES, self._fresh_frames, self._running.frames + 1):
            return
        self._running = running
        plan, expected, factors = basis.plan, basis.prediction, basis.factors
        epoch, cut = plan.epoch, plan.cut
        head, tail = self._devices[Role.HEAD], self._devices[Role.TAIL]
        head.report(epoch, cut, running.head_s, expected.head_s / factors.head[cut])
        if plan.served_by:
            tail.report(epoch, cut, running.tail_s, expected.tail_s / factors.tail[cut])
        if plan.served_by and device.link_bps > 0:
            # By the rate as it is now, which is watched on its own. A factor of the link is the
            # same for whatever crosses, so all cuts count as one.
            rate_bps = min(device.link_bps, FAST_BPS)
            link_s = 8 * expected.payload_bytes / rate_bps + device.link_delay_s
            self._link.report(epoch, 0, running.link_s, link_s)

    def changes(self, device: Device, link_band: float, stage_band: float) -> list[Change]:
        """What is news in what the head measured; a stage's band may be infinite."""
        if change := self._frames_change(device):
            return [Change(change)]
        change = self._link_change(device, link_band) or self._stage_change(stage_band)
        return [Change(change, optional=True)] if change else []

    def _stage_change(self, band: float) -> str | None:
        """Whether a stage has left the band around what was last planned with."""
        now, before = self.factors(), self._planned_with
        changes = [
            f"{name} time {old[worst]:.2f} -> {new[worst]:.2f} of the model's"
            for name, new, old in (
                ("head", now.head, before.head),
                ("link", now.link, before.link),
                ("tail", now.tail, before.tail),
            )
            if differ(new, old, band)
            for worst in [int(np.argmax(np.abs(np.log(new / old))))]
        ]
        if not changes:
            return None
        self._planned_with = now
        return ", ".join(changes)

    def _link_change(self, device: Device, band: float) -> str | None:
        """Whether the measured link rate has left the band around the one that was planned with."""
        if self._basis is None:
            return None
        planned_bps, measured_bps = self._basis.link_bps, min(device.link_bps, FAST_BPS)
        if not self._basis.plan.server_available or measured_bps <= 0:
            self._out_of_band = 0
            return None
        inside = planned_bps / band <= measured_bps <= planned_bps * band
        change_s = abs(8 * _REFERENCE_BYTES / measured_bps - 8 * _REFERENCE_BYTES / planned_bps)
        if inside or change_s < _LEAST_CHANGE_S:
            self._out_of_band = 0
            return None
        self._out_of_band += 1
        if self._out_of_band < _OUT_OF_BAND:
            return None
        self._out_of_band = 0
        # While the rate changed, frames took what neither the old nor the new one says.
        self._link = _link_correction()
        return f"link rate {planned_bps / 1e6:.1f} -> {measured_bps / 1e6:.1f} Mbit/s"

    def _frames_change(self, device: Device) -> str | None:
        """Whether the camera's frames became such that cut 0 can send them as they are, or not."""
        if self._basis is None:
            return None
        sendable = device.frame_bytes > 0
        if sendable == self._sendable or not self._basis.plan.server_available:
            return None
        self._sendable = sendable
        if sendable:
            return f"the camera's JPEGs ({device.frame_bytes / 1e3:.0f} kB) fit the network's input"
        return "the camera's frames do not fit the network's input any more"


def _link_correction() -> Correction:
    return Correction(1 / _MOST_OF_LINK, _MOST_OF_LINK)
