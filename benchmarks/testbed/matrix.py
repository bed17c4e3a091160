"""The cells of the matrix, and one cell after the other on the real nodes."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from codesign_ros.engines.cache import default_cache_dir
from codesign_ros.testbed.bed import LinkShape
from codesign_ros.testbed.measurement import Measurement, merged
from codesign_ros.testbed.radio import Radio, whole_periods_s
from codesign_ros.testbed.rates import highest_rate
from codesign_ros.testbed.session import Session
from codesign_ros.testbed.setup import Setup
from codesign_ros.types.codec_names import JPEG444_CODECS, NECK_CODECS
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.links import LinkSpec

# Codecs that every policy may use which knows compression.
CODECS = ("raw", "fp16+zstd", "uint8", "uint8+zstd", "uint4", "uint4+zstd")
OURS = "ours"
# Ours for long, to see how often it changes its plan while nothing else changes.
STEADY = "ours, left alone"
PEERS = ("device_only", "server_only_jpeg", "server_only_jpeg444", "neurosurgeon", "roofsplit")
# Both sides' peaks, for the peer that looks at them.
DEVICE = "x86-core"
# What is left of ours without its parts; each row has all of the one before and one thing more, and
# ours has the necks beside.
BY_PART: Mapping[str, Mapping[str, Any]] = {
    "ours: cut": {
        "structures": ["S3"],
        "codecs": ["raw"],
        "frame_codecs": ["raw"],
        "precisions": ["fp32"],
    },
    "ours: + structure": {"codecs": ["raw"], "frame_codecs": ["raw"], "precisions": ["fp32"]},
    "ours: + codec": {"codecs": list(CODECS), "precisions": ["fp32"]},
    "ours: + precision": {"codecs": list(CODECS)},
}
# Ours for the other objective than the cell's.
BY_OBJECTIVE: Mapping[str, Mapping[str, Any]] = {
    f"ours: {objective}": {"objective": objective} for objective in ("latency", "throughput")
}
VARIANTS = {**BY_PART, **BY_OBJECTIVE}
EVERYTHING = {
    "structures": ["S3", "S3+Ss", "S3+S1", "S3+Ss+S1"],
    "codecs": [*CODECS, *NECK_CODECS],
    "frame_codecs": ["raw", "raw+zstd", "jpeg", *JPEG444_CODECS],
}
# Of a radio with states, frames that may be late (planner parameter late_share).
_LATE_SHARE = 0.05
# Before something is measured: frames under the new plan, and for ours the time to learn [s].
_WARM_FRAMES = 8
_WARM_S = 1.0
_LEARN_S = 15.0
# At a fixed rate the camera sends this share of what the slowest policy reaches.
_EQUAL_RATE = 0.7
# Rates that are tried for the highest that a policy keeps up with.
_TRIED = 5


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
        seconds: how long each is watched in a round [s]; at a radio, whole periods of it.
        steady_s: how long ours is left alone at the end, its plans counted [s]; 0 = not at all.
        equal_rate: whether response times at an equal rate are measured too.
        robots: numbers of robots.
        rates_hz: rates of each camera to measure at, in the place of the equal one [Hz]; then not
            as fast as results come.
        highest: whether the highest rate is searched at which a policy loses no more than 5 %.
        radio: a link with states in the place of ``rates_bps``, and its name in config/links.yaml;
            None = the rates hold.
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
    robots: Sequence[int] = (1,)
    rates_hz: Sequence[float] = ()
    highest: bool = False
    radio: LinkSpec | None = None

    def cells(self) -> Iterator[Setup]:
        """List the cells."""
        radio = self.radio
        rates_bps = [radio.states[0].bandwidth_bps] if radio else self.rates_bps
        for robots, precision, cores, objective, rate_bps in itertools.product(
            self.robots, self.precisions, self.robot_cores, self.objectives, rates_bps
        ):
            planner: dict[str, Any] = {"codecs": list(CODECS)}
            if robots > 1:
                planner["shared"] = "server and link"
            if radio:
                planner |= {"link": radio.name, "late_share": _LATE_SHARE}
            yield Setup(
                LinkShape(rate_bps, self.burst_bytes),
                cores,
                precision=precision,
                objective=objective,
                planner=planner,
                robots=robots,
                device=DEVICE,
            )

    @property
    def watched_s(self) -> float:
        """How long a policy is watched in a round [s]."""
        if self.radio is None:
            return self.seconds
        return whole_periods_s(self.radio.states, self.seconds)


@dataclass
class Found:
    """What came of a cell.

    Attributes:
        measurements: of all policies, ours left alone, and at fixed rates.
        highest_hz: by policy, the highest rate that was tried and lost no more than 5 % [Hz].
        refused: by policy, why it could not choose here.
    """

    measurements: list[Measurement] = field(default_factory=list)
    highest_hz: dict[str, float] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


def measure_cell(setup: Setup, matrix: Matrix) -> dict[str, Any] | str:
    """Measure one cell, and print what goes on; what came of it as JSON, or why nothing did."""
    cache = default_cache_dir() / "testbed"
    try:
        found = run_cell(setup, matrix, cache, lambda line: print(line, flush=True))
    except CodesignError as error:
        return str(error)
    return asdict(found)


def run_cell(setup: Setup, matrix: Matrix, cache: Path, tell: Callable[[str], None]) -> Found:
    """Measure one cell: every policy as fast as it goes, in turn; then all at fixed rates.

    A policy that cannot choose here has no row; ``tell`` is told why.

    Raises:
        CodesignError: no bed can be had, or a node did not start.
    """
    with Session(setup, "testbed", cache, tell) as session:
        cell = _Cell(session, setup, matrix, tell)
        session.play(matrix.rates_hz[0] if matrix.rates_hz else None)
        session.wait_for_frames(_WARM_FRAMES)
        with cell.radio():
            if any(policy.startswith(OURS) for policy in matrix.policies):
                cell.choose(OURS)
                session.wait(_LEARN_S)
            cell.measure()
        return cell.found


class _Cell:
    """One cell as it is measured."""

    def __init__(
        self, session: Session, setup: Setup, matrix: Matrix, tell: Callable[[str], None]
    ) -> None:
        self.found = Found()
        self._session, self._setup, self._matrix, self._tell = session, setup, matrix, tell

    def radio(self) -> contextlib.AbstractContextManager[object]:
        """The link's states in turn, if it has some."""
        radio, burst_bytes = self._matrix.radio, self._matrix.burst_bytes
        if radio is None:
            return contextlib.nullcontext()
        shape = self._session.bed.shape
        return Radio(radio.states, lambda rate_bps: shape(LinkShape(rate_bps, burst_bytes)))

    def measure(self) -> None:
        """Measure all that the matrix asks for."""
        matrix, session, found = self._matrix, self._session, self.found
        if not matrix.rates_hz:
            found.measurements += self._in_turn(matrix.policies, None)
            if matrix.steady_s and OURS in matrix.policies:
                self.choose(OURS)
                found.measurements.append(self._say(session.watch(matrix.steady_s, STEADY)))
        reached = {m.policy: m.frames_s for m in found.measurements if m.policy != STEADY}
        rates_hz = list(matrix.rates_hz)
        if not rates_hz and matrix.equal_rate and reached:
            rates_hz = [_EQUAL_RATE * min(reached.values()) / self._setup.robots]
        for rate_hz in rates_hz:
            session.play(rate_hz)
            found.measurements += self._in_turn(list(reached or matrix.policies), rate_hz)
        if matrix.highest:
            for policy, frames_s in reached.items():
                if frames_s > 0:
                    found.highest_hz[policy] = self._highest(policy, frames_s)

    def choose(self, policy: str, rate_hz: float | None = None) -> None:
        """Put a policy in force and wait until frames show it; cameras then have the rate.

        At a rate what waited under the policy before, which may not have kept up, is done first.
        """
        session, setup = self._session, self._setup
        if rate_hz is not None:
            session.pause()
        of_cell = {"objective": setup.objective, "precisions": [setup.precision]}
        wanted = {**EVERYTHING, **of_cell, **VARIANTS.get(policy, {})}
        if policy == "ours: + precision":
            wanted["precisions"] = sorted({"fp32", setup.precision})
        session.set_planner(wanted)
        session.set_policy(OURS if policy in VARIANTS else policy)
        if rate_hz is not None:
            session.play(rate_hz)
        session.wait_for_plans(_WARM_FRAMES)
        session.wait(_WARM_S)

    def _in_turn(self, policies: Sequence[str], rate_hz: float | None) -> list[Measurement]:
        """Measure policies in rounds; those that can choose."""
        matrix, refused = self._matrix, self.found.refused
        rounds: dict[str, list[Measurement]] = {policy: [] for policy in policies}
        for number in range(matrix.rounds):
            self._tell(f"round {number + 1} of {matrix.rounds}")
            for policy in policies:
                if policy in refused:
                    continue
                try:
                    self.choose(policy, rate_hz)
                except CodesignError as error:
                    refused[policy] = str(error)
                    self._tell(f"{policy}: {error}")
                else:
                    found = self._session.watch(matrix.watched_s, policy, rate_hz)
                    rounds[policy].append(self._say(found))
        return [merged(of_policy) for of_policy in rounds.values() if of_policy]

    def _highest(self, policy: str, frames_s: float) -> float:
        """Search the highest rate of each camera at which a policy loses no more than 5 %."""

        def lost(rate_hz: float) -> float:
            self.choose(policy, rate_hz)
            return self._say(self._session.watch(self._matrix.watched_s, policy, rate_hz)).lost

        highest_hz = highest_rate(lost, frames_s / self._setup.robots, steps=_TRIED)
        self._tell(f"{policy}: keeps up with {highest_hz:.1f} Hz")
        return highest_hz

    def _say(self, found: Measurement) -> Measurement:
        rate = f" of {found.rate_hz:.1f} Hz" if found.rate_hz else ""
        self._tell(
            f"{found.policy}: {found.frames_s:.1f} frames/s{rate}, p95 "
            f"{found.response_ms['p95']:.0f} ms, {found.plan}, {found.plans} plans"
        )
        for reason in found.reasons:
            self._tell(f"  {reason}")
        return found
