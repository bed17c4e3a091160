"""What the running planner predicts of plans over the shaped link, and what they then take."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from codesign_ros.bundle import Bundle
from codesign_ros.runtime.messages import Result
from codesign_ros.testbed.bed import LinkShape
from codesign_ros.testbed.measurement import Seen, measurement
from codesign_ros.testbed.session import FRAME_TIMEOUT_S, Session
from codesign_ros.testbed.setup import ROBOT
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import BRANCH_STRUCTURES, Merge
from codesign_ros.types.plan import Plan

# Bytes of a value at most, of a tensor that crosses and of a frame; a JPEG is mostly smaller.
_TENSOR_BYTES = {"raw": 4.0, "fp16+zstd": 2.0, "uint8+zstd": 1.0, "uint4+zstd": 0.5}
_FRAME_BYTES = {"raw": 1.0, "jpeg": 0.1}
# Plans whose frames may take longer on the link [s] are none that anybody runs, nor would their
# answers be there within the head's ``deadline_s``.
_MOST_LINK_S = 0.55
# Frames under a plan before it counts, and time for the head to learn a rate of the link [s].
_WARM_FRAMES, _LEARN_S = 3, 12.0
# Fewer have no median worth the name.
_LEAST_FRAMES = 5
# Halves that were never run here are exported first, on a share of a core [s].
_BUILD_TIMEOUT_S = 300.0
# Frames that take so many times what was predicted are waited for.
_PATIENCE = 3.0


@dataclass(frozen=True)
class Choice:
    """A plan that needs the link; both halves have one structure and precision."""

    cut: int
    structure: str
    precision: str
    codec: str

    @property
    def planner(self) -> dict[str, Any]:
        """Parameters of the planner that leave it this plan alone under policy ``cut:N``."""
        codecs = "codecs" if self.cut else "frame_codecs"
        return {
            "structures": [self.structure],
            "precisions": [self.precision],
            codecs: [self.codec],
        }


@dataclass(frozen=True)
class Compared:
    """A plan over a link, predicted and measured.

    Attributes:
        choice: the plan.
        rate_bps: of the link [bit/s].
        frames: that the server answered.
        predicted_ms: robot, link and server as the planner said when it made the plan [ms].
        measured_ms: medians of the same [ms].
        response_ms: median from stamp to result, with all that no model counts [ms].
        predicted_bytes: what a frame was to take on the link [bytes].
        measured_bytes: what it took, mean [bytes].
        planned_bps: rate of the link that the planner counted with [bit/s].
    """

    choice: Choice
    rate_bps: float
    frames: int
    predicted_ms: tuple[float, float, float]
    measured_ms: tuple[float, float, float]
    response_ms: float
    predicted_bytes: float
    measured_bytes: float
    planned_bps: float

    @property
    def error(self) -> float:
        """By how much of what was measured the prediction is above it."""
        return sum(self.predicted_ms) / sum(self.measured_ms) - 1

    def to_json(self) -> dict[str, Any]:
        """All of it, for a file."""
        return {**asdict(self), "error": self.error}


def draw_choices(
    bundle: Bundle, precisions: Sequence[str], rate_bps: float, count: int, seed: int
) -> list[Choice]:
    """Draw different plans, each as likely as any other, of those that a planner may make.

    That is, whose frames the link can carry, and of which it is known what the codec loses.

    Args:
        bundle: the network, with its accuracy table.
        precisions: those that both sides have.
        rate_bps: of the link [bit/s].
        count: how many.
        seed: of the draw.

    Raises:
        CodesignError: there are not so many.
    """
    fitting = [
        Choice(cut, structure.value, precision, codec)
        for cut in range(bundle.last_cut)
        for codec, value_bytes in (_TENSOR_BYTES if cut else _FRAME_BYTES).items()
        if 8 * value_bytes * _values(bundle, cut) <= _MOST_LINK_S * rate_bps
        for precision in precisions
        if cut == 0 or bundle.accuracy.codec_loss(cut, codec, precision, Merge.FOLD) is not None
        for structure in BRANCH_STRUCTURES
    ]
    if count > len(fitting):
        raise CodesignError(
            f"at {rate_bps / 1e6:g} Mbit/s there are {len(fitting)} plans to draw from, not "
            f"{count}: ask for fewer"
        )
    return random.Random(seed).sample(fitting, count)


def _values(bundle: Bundle, cut: int) -> int:
    return sum(math.prod(spec.shape) for spec in bundle.crossings[cut])


def compare_over_link(
    session: Session,
    choices: Mapping[float, Sequence[Choice]],
    seconds: float,
    tell: Callable[[str], None],
) -> Iterator[Compared]:
    """Put plans in force, one frame in flight, and watch each.

    Args:
        session: nodes whose window is 1.
        choices: the plans of each rate of the link [bit/s].
        seconds: how long each is watched at least [s].
        tell: told which plan could not be had, and why.
    """
    for rate_bps, plans in choices.items():
        # The head learns the rate anew: what it was before is no matter of a prediction.
        session.observer.change_state(f"{ROBOT}/head", "deactivate")
        session.bed.shape(LinkShape(rate_bps))
        session.observer.change_state(f"{ROBOT}/head", "activate")
        session.wait(_LEARN_S)
        session.play()
        for choice in plans:
            try:
                session.set_planner(choice.planner)
                session.set_policy(f"cut:{choice.cut}", _BUILD_TIMEOUT_S)
                plan = session.plan
                patience_s = max(FRAME_TIMEOUT_S, _PATIENCE * _WARM_FRAMES * plan.latency_s)
                session.wait_for_server(_WARM_FRAMES, patience_s)
            except CodesignError as error:
                tell(f"{choice}: {error}")
                continue
            before = len(session.observer.results)
            # On a thin link a frame may take seconds.
            session.wait(max(seconds, 1.5 * _LEAST_FRAMES * plan.latency_s))
            seen = [result for _, result in session.observer.results[before:]]
            row = compared(choice, rate_bps, plan, seen)
            if row is None:
                told = f"{len(seen)} results, fewer than {_LEAST_FRAMES} by the server"
                tell(f"{choice}: {told}")
            else:
                yield row
        session.pause()


def compared(
    choice: Choice, rate_bps: float, plan: Plan, results: Sequence[Result]
) -> Compared | None:
    """A plan's prediction beside its results that the server answered; None where these are few.

    Frames that the robot finished, for an answer was late, say nothing of the plan.
    """
    served = [result for result in results if result.finished_by == "server"]
    if len(served) < _LEAST_FRAMES:
        return None
    found = measurement(f"cut:{choice.cut}", None, 1.0, [Seen(served, [plan])], {}, {})
    return Compared(
        choice,
        rate_bps,
        found.frames,
        found.predicted_ms,
        found.stages_ms,
        found.response_ms["p50"],
        plan.payload_bytes,
        found.payload_bytes,
        plan.link_bps,
    )


def median_and_worst(compared: Sequence[Compared]) -> tuple[float, float]:
    """Median and largest absolute error.

    Raises:
        CodesignError: nothing was compared.
    """
    errors = [abs(each.error) for each in compared]
    if not errors:
        raise CodesignError("no plan could be run over the link")
    return statistics.median(errors), max(errors)
