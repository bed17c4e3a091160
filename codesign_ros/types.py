"""Frozen values that every room shares: structures, tensors, devices, links, plans, frames.

Nothing here imports another room, so every room may import this.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Literal, NamedTuple

import numpy as np

IMAGE = "image"
"""Name of a network's input, and of the frame on the wire at cut 0."""

NECK = "neck"
"""Name of the tensor between the encoder and the decoder of a neck (``models.neck``)."""


CORNERS, CENTRE = BOX_FORMS = ("corners", "centre")
"""What the four numbers of a detector's box are, in pixels of its input: x_min, y_min, x_max and
y_max, or x and y of the centre, width and height."""


class CodesignError(Exception):
    """A mistake the user can mend. Its text is one line that names the thing and the way out.

    The command line prints it without a traceback and exits with a non-zero status; nodes log it.
    """


def listed(names: Sequence[str], most: int = 12) -> str:
    """Write names into a message: all of them, or the first ones and how many there are."""
    if len(names) <= most:
        return ", ".join(names)
    return f"{', '.join(names[:most])} ... ({len(names)} in all)"


LFS_POINTER = b"version https://git-lfs.github.com/spec/"
"""What a file begins with that was cloned without its content (git-lfs/docs/spec.md)."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Write the nearest known word into a message, as in ``; did you mean head?``; else nothing."""
    lower = {each.lower(): each for each in known}
    near = difflib.get_close_matches(word.lower()[:100], lower, n=1)
    return f"; did you mean {lower[near[0]]}?" if near else ""


class Structure(str, Enum):
    """What a network's layers are made into before they run.

    Four are the branches of a re-parameterisable block that stay separate (paper, section IV):
    ``S3`` is the 3x3 convolution, ``Ss`` the shortcut (identity), ``S1`` the 1x1 convolution.
    ``rank`` is the fifth: no branch stays, and every convolution and linear layer becomes two of
    lower rank where that is less work (``models.low_rank``; the paper's future work).
    """

    S3 = "S3"
    S3_SS = "S3+Ss"
    S3_S1 = "S3+S1"
    S3_SS_S1 = "S3+Ss+S1"
    RANK = "rank"

    @property
    def keeps_identity(self) -> bool:
        """True if the identity (shortcut) branch stays a branch of its own."""
        return self in (Structure.S3_SS, Structure.S3_SS_S1)

    @property
    def keeps_1x1(self) -> bool:
        """True if the 1x1 branch stays a branch of its own."""
        return self in (Structure.S3_S1, Structure.S3_SS_S1)


BRANCH_STRUCTURES = tuple(structure for structure in Structure if structure is not Structure.RANK)
"""The paper's four. With fold they compute the same, whereas ``rank`` only comes near it: it is
offered where somebody asks for it and its accuracy was measured."""

RANK_ENERGY_KEPT = 0.95
"""Share of a layer's squared singular values that ``rank`` keeps."""


class Merge(str, Enum):
    """What happens to a branch that does not stay.

    ``fold`` adds it into the 3x3, which is exact; ``prune`` throws it away; ``prune+bn`` throws it
    away and measures the statistics of every BatchNorm anew, on frames that the bundle holds.
    """

    FOLD = "fold"
    PRUNE = "prune"
    PRUNE_BN = "prune+bn"


PRECISIONS = ("fp32", "fp16", "int8-tensor", "int8-channel")
"""In which numbers a network computes: float32, float16, or 8-bit integers with one step for each
weight tensor or for each of its output channels."""


Part = Literal["head", "tail"]


class HalfForm(NamedTuple):
    """A half of a network, whose part is known, and the form in which it runs.

    ``cut`` is the segment after which the head ends: a head runs segments 1..cut, a tail runs
    segments cut+1..N. With ``neck`` the head ends with the encoder and the tail begins with the
    decoder of the neck that the bundle has at this cut.
    """

    cut: int
    structure: Structure = Structure.S3
    merge: Merge = Merge.FOLD
    precision: str = "fp32"
    neck: bool = False


@dataclass(frozen=True)
class TensorSpec:
    """Name, shape and element type of a tensor; ``dtype`` is a numpy name such as ``float32``."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"

    @property
    def elements(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def nbytes(self) -> int:
        """Size in memory [bytes]."""
        return self.elements * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class InputSpec:
    """How a frame becomes the network's input.

    The frame is letterboxed to ``height`` x ``width`` RGB; each channel is then
    ``(value / 255 - mean) / std``.
    """

    height: int
    width: int
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)


NUMBER_BYTES = {"fp32": 4, "fp16": 2, "int8": 1}
"""Size of one element [bytes] in each number format that a device may have a compute peak for."""


def number_format(precision: str) -> str:
    """Name the number format in which a precision computes: ``int8-channel`` computes in int8."""
    return precision.partition("-")[0]


@dataclass(frozen=True)
class DeviceSpec:
    """A machine as the roofline model sees it.

    Attributes:
        name: what it is called.
        peak_flops: pi by number format (``fp32``, ``fp16``, ``int8``), dense [FLOP/s]; a format
            that the device does not speed up may be missing.
        memory_bandwidth: beta [bytes/s].
        utilisation: mu, the share of the attainable performance that inference reaches (paper,
            Eq. 5 and 6).
        paper_peak_flops: pi as the co-design paper states it for Eq. 2 and 4, whatever format it
            counts [FLOP/s]; None = the paper does not know the device.
        memory_bytes: memory that a network may take [bytes].
        power_w: what it draws under load [W]; None = not known.
        source: where the figures come from.
        computes_on: ``cpu`` or ``gpu``, whose peaks these are; empty = not known.
    """

    name: str
    peak_flops: Mapping[str, float]
    memory_bandwidth: float
    utilisation: float = 1.0
    paper_peak_flops: float | None = None
    memory_bytes: float = math.inf
    power_w: float | None = None
    source: str = ""
    computes_on: str = ""

    def has(self, precision: str) -> bool:
        """Tell whether a compute peak is known for this precision."""
        return number_format(precision) in self.peak_flops

    def peak(self, precision: str) -> float:
        """Compute peak in this precision [FLOP/s].

        Raises:
            CodesignError: none is known.
        """
        if not self.has(precision):
            raise CodesignError(
                f"device {self.name} has no {number_format(precision)} peak; "
                f"it has {', '.join(self.peak_flops)}"
            )
        return self.peak_flops[number_format(precision)]

    @property
    def ridge_intensity(self) -> float:
        """I_m = pi / beta [FLOP/byte], the intensity from which the device is compute bound.

        pi is the paper's figure where there is one, else the fp32 peak.
        """
        peak_flops = self.paper_peak_flops
        return (self.peak("fp32") if peak_flops is None else peak_flops) / self.memory_bandwidth


class RadioState(NamedTuple):
    """A state that a radio is in for a while: its rate [bit/s] and how long it lasts [s].

    ``mean_s`` is the mean duration of one stay; samples of a rate are states of equal duration.
    """

    bandwidth_bps: float
    mean_s: float = 1.0


@dataclass(frozen=True)
class LinkSpec:
    """The link between robot and server.

    Attributes:
        bandwidth_bps: beta_s, rate of the uplink over the long run [bit/s].
        delay_s: propagation delay from the robot to the server [s].
        name: what it is called.
        transmit_w: what the robot's radio draws while it sends [W]; None = not known.
        downlink_bps: rate of the way back [bit/s]; None = the uplink's.
        downlink_delay_s: propagation delay of the way back [s]; None = the same as the way there.
        burst_bytes: what the link lets pass at once before its rate holds (a token bucket's depth)
            [bytes]. No plan counts it: frames that flow leave the bucket empty. Whoever measures
            the rate must look past it.
        bandwidth_error_bps: how far off ``bandwidth_bps`` may be, a standard deviation [bit/s].
        states: of a rate that varies; ``bandwidth_bps`` is then their mean over time, as
            :meth:`radio` works it out.

    Raises:
        CodesignError: a rate or duration is not above 0, or a delay, a power or a burst is below.
    """

    bandwidth_bps: float
    delay_s: float = 0.0
    name: str = ""
    transmit_w: float | None = None
    downlink_bps: float | None = None
    downlink_delay_s: float | None = None
    burst_bytes: float = 0.0
    states: tuple[RadioState, ...] = ()
    bandwidth_error_bps: float = 0.0

    def __post_init__(self) -> None:
        # Written so that NaN fails too.
        for rate_bps in (
            self.bandwidth_bps,
            self.back_bps,
            *(s.bandwidth_bps for s in self.states),
        ):
            if not rate_bps > 0:
                raise CodesignError(f"the link's rate must be above 0 bit/s, not {rate_bps:g}")
        for delay_s in (self.delay_s, self.back_delay_s):
            if not 0 <= delay_s < math.inf:
                raise CodesignError(f"the link's delay must be 0 s or more, not {delay_s:g}")
        if self.transmit_w is not None and not 0 <= self.transmit_w < math.inf:
            raise CodesignError(
                f"the power of the link's radio must be 0 W or more, not {self.transmit_w:g}"
            )
        if not 0 <= self.burst_bytes < math.inf:
            raise CodesignError(
                f"the link's burst must be 0 bytes or more, not {self.burst_bytes:g}"
            )
        if not 0 <= self.bandwidth_error_bps < math.inf:
            raise CodesignError(
                f"the error of the link's rate must be 0 bit/s or more, not "
                f"{self.bandwidth_error_bps:g}"
            )
        for state in self.states:
            if not 0 < state.mean_s < math.inf:
                raise CodesignError(
                    f"a state of the link must last above 0 s on average, not {state.mean_s:g}"
                )

    @classmethod
    def radio(cls, states: Sequence[RadioState], **more: Any) -> LinkSpec:
        """Make a link of a rate that varies; ``more`` are the other fields.

        Raises:
            CodesignError: there is no state, or as the class.
        """
        if not states:
            raise CodesignError("a radio needs at least one state with its rate and duration")
        total_s = sum(state.mean_s for state in states)
        mean_bps = sum(state.bandwidth_bps * state.mean_s for state in states) / total_s
        return cls(mean_bps, states=tuple(states), **more)

    @property
    def back_bps(self) -> float:
        """Rate of the way back [bit/s]."""
        return self.bandwidth_bps if self.downlink_bps is None else self.downlink_bps

    @property
    def back_delay_s(self) -> float:
        """Propagation delay of the way back [s]."""
        return self.delay_s if self.downlink_delay_s is None else self.downlink_delay_s

    def scaled(self, factor: float) -> LinkSpec:
        """The same with an uplink ``factor`` times as fast, in every state; the way back stays."""
        states = tuple(s._replace(bandwidth_bps=factor * s.bandwidth_bps) for s in self.states)
        return replace(
            self,
            bandwidth_bps=factor * self.bandwidth_bps,
            downlink_bps=self.back_bps,
            states=states,
            bandwidth_error_bps=factor * self.bandwidth_error_bps,
        )

    def at_rate(self, bandwidth_bps: float) -> LinkSpec:
        """The same with an uplink of this steady rate [bit/s]."""
        return replace(self, bandwidth_bps=bandwidth_bps, states=())


NECK_CODECS = tuple(f"neck.{level}" for level in range(4))
"""Codecs of a neck: what a trained encoder makes of a cut, at one of its rate levels. Level 0 is
the finest; which of them there are, and at which cuts, says the bundle."""


def neck_level(codec: str) -> int | None:
    """The rate level that a codec names; None where it is no codec of a neck."""
    return NECK_CODECS.index(codec) if codec in NECK_CODECS else None


JPEG444_QUALITIES = (90, 75, 50, 30)
JPEG444_CODECS = tuple(f"jpeg444.{quality}" for quality in JPEG444_QUALITIES)
"""Codecs of the frame that encode it as JPEG of one of these qualities with whole colours (4:4:4),
the finest first. ``jpeg`` is the camera's own, or one of quality 90 with halved colours (4:2:0)."""


H264_RATES = (18, 23, 28)
H264_CODECS = tuple(f"h264.{rate}" for rate in H264_RATES)
"""Codecs of the frame that write it after the frame before, as H.264 of one of these constant rate
factors, the finest first. Each is a plan's own: another one begins another stream."""


def encoded_anew(codec: str) -> str:
    """What an accuracy table calls a camera's JPEG that is decoded and encoded with ``codec``."""
    return f"{_ENCODED_ANEW}{codec}"


def is_encoded_anew(codec: str) -> bool:
    """Whether a table's codec is of a camera's JPEG that was decoded and encoded again."""
    return codec.startswith(_ENCODED_ANEW)


_ENCODED_ANEW = "jpeg+"


def rate_levels_of(codec: str) -> tuple[str, ...]:
    """The codecs from which the head may choose for each frame under one plan, finest first.

    The number of a level is its place. None where the codec stays.
    """
    ladders = (NECK_CODECS, JPEG444_CODECS)
    return next((ladder for ladder in ladders if codec in ladder), ())


def codec_family(codec: str) -> str:
    """What the codecs of one ladder have in common: ``neck``, ``jpeg444``, ``h264``; else all."""
    return codec.partition(".")[0]


class RateLevel(NamedTuple):
    """A rate level of a neck, or of the frame's JPEG; see ``rate_levels_of``.

    Attributes:
        level: its number.
        payload_bytes: its mean payload [bytes].
        accuracy_loss: what the whole plan loses at this level, 0 to 1.
    """

    level: int
    payload_bytes: float
    accuracy_loss: float


@dataclass(frozen=True)
class Plan:
    """One answer to the co-design problem; see ``msg/Plan.msg`` for the same fields on the wire.

    ``cut`` 0 sends the frame, ``cut`` N keeps all on the robot. ``epoch`` names the plan; 0 means
    "no plan yet". Times are predictions of the cost model [s]. ``placed_on`` is the tail to which
    frames and probes go, also while ``served_by`` is empty. The ``standby_*`` say how the robot
    runs the whole network where the server does not answer. ``levels`` are those of the
    codec (``rate_levels_of``) among which the head chooses for each frame by the link as it is,
    finest first; none where the codec stays.
    """

    cut: int
    head_structure: Structure = Structure.S3
    tail_structure: Structure = Structure.S3
    merge: Merge = Merge.FOLD
    precision: str = "fp32"
    codec: str = "raw"
    epoch: int = 0
    planner: int = 0
    robot: str = ""
    model_id: str = ""
    served_by: str = ""
    placed_on: str = ""
    server_available: bool = False
    reason: str = ""
    objective: str = "latency"
    lambda_1: float = 0.0
    head_s: float = 0.0
    link_s: float = 0.0
    tail_s: float = 0.0
    accuracy_loss: float = 0.0
    payload_bytes: float = 0.0
    link_bps: float = 0.0
    standby_structure: Structure = Structure.S3
    standby_merge: Merge = Merge.FOLD
    standby_precision: str = "fp32"
    levels: tuple[RateLevel, ...] = ()

    def standby(self, last_cut: int) -> Plan:
        """The plan that the head follows by itself while the server does not answer.

        Args:
            last_cut: N, the cut that keeps all on the robot.
        """
        return replace(
            self,
            cut=last_cut,
            head_structure=self.standby_structure,
            tail_structure=self.standby_structure,
            merge=self.standby_merge,
            precision=self.standby_precision,
            codec="raw",
            served_by="",
            levels=(),
        )

    @property
    def has_neck(self) -> bool:
        """Whether a neck is run: its encoder behind the head, its decoder before the tail."""
        return neck_level(self.codec) is not None

    @property
    def level_codecs(self) -> tuple[str, ...]:
        """The codecs of its levels; its own where it stays."""
        ladder = rate_levels_of(self.codec)
        known = (each.level for each in self.levels if each.level < len(ladder))
        return tuple(ladder[level] for level in known) or (self.codec,)

    @property
    def tail(self) -> str:
        """The tail to which frames and probes go; empty where there is none."""
        return self.placed_on or self.served_by

    @property
    def latency_s(self) -> float:
        """T_total = T1 + T3 + T2 (Eq. 8), T3 with the answer's way back [s]."""
        return self.head_s + self.link_s + self.tail_s


@dataclass(frozen=True)
class Box:
    """One object in one frame, in pixels of the original image (origin top left)."""

    label: str
    x_min: float
    y_min: float
    x_max: float
    y_max: float
    score: float = 1.0


@dataclass(frozen=True)
class GroundTruth:
    """What is truly in a frame: the class of the whole frame and a box for each object."""

    label: str
    boxes: tuple[Box, ...] = field(default=())


_LONGEST_ERROR = 400


def one_line(said: str | Exception) -> str:
    """Return a text, or what an error says, on one line, cut off where it is long.

    Characters that are none of a text, such as those that steer a terminal, are escaped.
    """
    # Cut first: it may be megabytes of somebody else's.
    line = escaped(" ".join(str(said)[: 2 * _LONGEST_ERROR].split()))
    return line if len(line) <= _LONGEST_ERROR else line[: _LONGEST_ERROR - 3] + "..."


def escaped(said: str | Exception) -> str:
    """Return a text, or what an error says, with what is no letter of a text written out.

    Names of files may have line ends in them, and what steers a terminal.
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(said))


def unexpected(error: Exception) -> str:
    """One line on an error that nobody foresaw, for a result's ``reason``."""
    return one_line(f"unexpected {type(error).__name__}: {error}")
