"""What the planner solves for."""

from __future__ import annotations

from dataclasses import dataclass

from codesign_ros.cost.accuracy import AccuracyTable, loss_allowed
from codesign_ros.cost.model import MODES
from codesign_ros.cost.roofline import RooflineMode
from codesign_ros.cost.tables import Axes
from codesign_ros.planning.objective import Objective
from codesign_ros.planning.problem import Limits
from codesign_ros.runtime.planner.policy import OURS, check_policy
from codesign_ros.types.codec_names import JPEG444_CODECS, NECK_CODECS
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import BRANCH_STRUCTURES, Merge, Structure
from codesign_ros.types.links import LinkSpec

SHARED = ("nothing", "server", "server and link")
"""What several robots share: each has a server and a link of its own, one server, or both."""


@dataclass(frozen=True)
class PlannerSettings:
    """What the planner solves for; all of it may change while it runs.

    Attributes:
        policy: who chooses: ``ours``, a peer, or a fixed cut; see ``policy.check_policy``.
        mode: cost model, one of ``MODES``.
        objective: which time counts in Eq. 11.
        lambda_1: weight of the accuracy loss in Eq. 11 [s per unit of loss].
        structures: structures that head and tail may have.
        merges: what may become of branches that do not stay.
        codecs: codecs for cuts 1..N-1; those of a neck count where the network has one.
        frame_codecs: codecs for the frame at cut 0.
        precisions: numeric precisions; both halves have the same.
        accuracy_floor: least accuracy, in the metric that the bundle was measured by; 0 = any.
        deadline_s: most time of one frame through all stages [s]; 0 = any.
        late_share: share of the frames that may take longer than latency says, see ``Problem``; 0 =
            the mean time counts.
        frame_rate_hz: frames a second that a plan must keep; 0 = any.
        window: frames in flight, which limits the pace; 0 = no limit.
        link: what is known of the link beside its measured rate and delay, above all its states,
            whose mean is then the measured rate; None = nothing.
        shared: what robots share, one of ``SHARED``; their shares are then those of the fleet.
        uplink_limit_bytes_per_s: most bytes a second over the link, with frames at the pace of the
            slowest stage [bytes/s]; 0 = any.
        link_bps: rate to assume until the head has measured the link [bit/s].
        correct: multiply a device's predicted times by what its running frames showed; in mode
            ``paper`` never, whose formulas stand as they are.
        switch_gain: after news of a rate or a time, the plan in force stays unless another one's
            objective is better by this share at least, and by more than noise and the cost of the
            change; other news always make a new plan. An engine is built for as much, too.
        build_timeout_s: after so long a device is asked again for an engine that it has not built,
            and a plan that it does not get ready is given up [s].
        debounce_s: time to wait for more news before solving [s].
    """

    policy: str = OURS
    mode: str = "measured"
    objective: Objective = Objective.LATENCY
    lambda_1: float = 1.0
    structures: tuple[Structure, ...] = BRANCH_STRUCTURES
    merges: tuple[Merge, ...] = (Merge.FOLD,)
    codecs: tuple[str, ...] = ("raw", "fp16+zstd", "uint8+zstd", *NECK_CODECS)
    frame_codecs: tuple[str, ...] = ("jpeg", *JPEG444_CODECS, "raw")
    precisions: tuple[str, ...] = ("fp32",)
    accuracy_floor: float = 0.0
    deadline_s: float = 0.0
    late_share: float = 0.0
    frame_rate_hz: float = 0.0
    window: int = 0
    link: LinkSpec | None = None
    shared: str = SHARED[0]
    uplink_limit_bytes_per_s: float = 0.0
    link_bps: float = 10e6
    correct: bool = True
    switch_gain: float = 0.05
    build_timeout_s: float = 1800.0
    debounce_s: float = 0.2

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise CodesignError(f"unknown mode {self.mode!r}; known are {', '.join(MODES)}")
        if self.shared not in SHARED:
            raise CodesignError(f"unknown value of shared {self.shared!r}; known are {SHARED}")
        check_policy(self.policy)

    @property
    def corrects(self) -> bool:
        """Whether predicted times are corrected."""
        return self.correct and self.mode != RooflineMode.PAPER.value

    def limits(self, accuracy: AccuracyTable | None) -> Limits:
        """What a plan must keep.

        Raises:
            CodesignError: the network does not reach the accuracy floor, or was not measured.
        """
        floor = self.accuracy_floor
        return Limits(
            accuracy_loss=loss_allowed(accuracy, floor) if floor > 0 else None,
            deadline_s=self.deadline_s or None,
            uplink_bytes_per_s=self.uplink_limit_bytes_per_s or None,
        )

    def axes(self, servers: tuple[str, ...], neck_codecs: tuple[str, ...] = ()) -> Axes:
        """What can be chosen, with these servers, of a network that has these necks."""
        left_out = {*NECK_CODECS} - {*neck_codecs}
        codecs = tuple(sorted({*self.codecs, *self.frame_codecs} - left_out))
        return Axes(self.structures, self.merges, self.precisions, codecs, servers)
