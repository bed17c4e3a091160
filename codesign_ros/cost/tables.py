"""What every choice costs, as arrays: the one form in which the planner sees a cost model.

A joint grid has tens of thousands of candidates, but their costs are sums of few parts: a half's
time depends on its cut, structure and precision alone, a payload on its cut and codec. These parts
are worked out once for a network and its devices; the link's rate, the objective and the limits
enter when the problem is solved, in numpy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from codesign_ros.types.codec_names import neck_level
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import Merge, Structure

NO_CODEC = "raw"
"""Codec of a plan that keeps all on the robot: nothing is sent, so nothing is encoded."""


@dataclass(frozen=True)
class Axes:
    """What can be chosen beside the cut; the position in each tuple is the index in the arrays.

    Attributes:
        structures: structures that head and tail may have (S of them).
        merges: what may become of branches that do not stay (M).
        precisions: numeric precisions; both halves have the same (P).
        codecs: codecs of tensors and of the frame together (K).
        servers: names of those that can run the tail (V); none without a server.

    Raises:
        CodesignError: there is nothing to choose from.
    """

    structures: tuple[Structure, ...]
    merges: tuple[Merge, ...] = (Merge.FOLD,)
    precisions: tuple[str, ...] = ("fp32",)
    codecs: tuple[str, ...] = (NO_CODEC,)
    servers: tuple[str, ...] = ("server",)

    def __post_init__(self) -> None:
        if not (self.structures and self.merges and self.precisions):
            raise CodesignError("at least one structure, merge and precision must be allowed")
        if NO_CODEC not in self.codecs:
            object.__setattr__(self, "codecs", (NO_CODEC, *self.codecs))


@dataclass(frozen=True, eq=False)
class CostTables:
    """The parts of which every candidate's cost is made; NaN = not known, hence not offered.

    N segments, cuts 0..N; S, M, P, K, V as in :class:`Axes`.

    Attributes:
        axes: what the indices mean.
        head_s: (N+1, S, P) time of segments 1..cut, with preparing the frame where cut > 0 [s].
        encode_s: (N+1, K) time to encode what crosses; at cut 0 with preparing the frame [s].
        payload_bytes: (N+1, K) what crosses [bytes]; NaN where a codec does not fit.
        tail_s: (V, N+1, S, P) time of segments cut+1..N [s].
        decode_s: (V, N+1, K) time to decode [s].
        load_fraction: (N+1,) lambda of Eq. 10, the head's share of the work, 0 to 1.
        structure_loss: (S, M, P) Delta A_n(theta) of Eq. 9, 0 to 1.
        codec_loss: (N+1, K, P, M) what the codec loses, 0 to 1.
        segment_flops: (N, S) operations [FLOP]; None where they were not counted.
        segment_bytes: (N, S) fp32 memory traffic [bytes]; likewise.
        head_memory_bytes: (N+1, S, P) memory that the head needs [bytes]; likewise.
        tail_memory_bytes: (N+1, S, P) likewise for the tail.
        answer_bytes: size of an answer on its way back [bytes]; None = mode ``paper``, whose Eq. 7
            and 8 count neither the answer nor any delay.
        robot_power_w: what the robot draws while it computes [W]; None = not known.
        metric: name of the accuracy that the losses are losses of.
        reference: its value for the unchanged network, 0 to 1; None where it was not measured.
        notes: what was estimated or left out and why, one line each.
        coding: where the times of codecs, JPEG and preparation come from, if they were not measured
            on these devices, in a few words.
        structure_error: (S, M, P) standard errors of ``structure_loss``; None = not known.
        codec_error: (N+1, K, P, M) likewise of ``codec_loss``.
        neck_head_s: (N+1, S, P) time of ``head_s`` with the encoder of a neck behind, which
            counts with its codecs (``types.codec_names.NECK_CODECS``) [s]; None = no cut has one.
        neck_tail_s: (V, N+1, S, P) time of the tail with its decoder before it, likewise [s].
        payload_spread: (N+1, K) standard deviation of ``payload_bytes`` from frame to frame, as
            share of it; None = not known, and counts as 0.
        payload_scale: (N+1, K, P) payload of heads in each precision against ``payload_bytes``,
            which are fp32's; None = the same.
    """

    axes: Axes
    head_s: np.ndarray
    encode_s: np.ndarray
    payload_bytes: np.ndarray
    tail_s: np.ndarray
    decode_s: np.ndarray
    load_fraction: np.ndarray
    structure_loss: np.ndarray
    codec_loss: np.ndarray
    segment_flops: np.ndarray | None = None
    segment_bytes: np.ndarray | None = None
    head_memory_bytes: np.ndarray | None = None
    tail_memory_bytes: np.ndarray | None = None
    answer_bytes: float | None = 0.0
    robot_power_w: float | None = None
    metric: str = "accuracy"
    reference: float | None = None
    notes: tuple[str, ...] = ()
    structure_error: np.ndarray | None = None
    codec_error: np.ndarray | None = None
    coding: str = ""
    neck_head_s: np.ndarray | None = None
    neck_tail_s: np.ndarray | None = None
    payload_spread: np.ndarray | None = None
    payload_scale: np.ndarray | None = None

    def __post_init__(self) -> None:
        a, n = self.axes, len(self.head_s)
        s, m, p, k, v = map(len, (a.structures, a.merges, a.precisions, a.codecs, a.servers))
        shapes = {
            "head_s": (n, s, p),
            "encode_s": (n, k),
            "payload_bytes": (n, k),
            "tail_s": (v, n, s, p),
            "decode_s": (v, n, k),
            "load_fraction": (n,),
            "structure_loss": (s, m, p),
            "codec_loss": (n, k, p, m),
            "structure_error": (s, m, p),
            "codec_error": (n, k, p, m),
            "segment_flops": (n - 1, s),
            "segment_bytes": (n - 1, s),
            "head_memory_bytes": (n, s, p),
            "tail_memory_bytes": (n, s, p),
            "neck_head_s": (n, s, p),
            "neck_tail_s": (v, n, s, p),
            "payload_spread": (n, k),
            "payload_scale": (n, k, p),
        }
        for name, shape in shapes.items():
            array = getattr(self, name)
            if array is not None and array.shape != shape:
                raise ValueError(f"{name} has shape {array.shape}, not {shape}")

    @property
    def is_neck(self) -> np.ndarray:
        """(K,) which codecs are those of a neck."""
        return np.array([neck_level(codec) is not None for codec in self.axes.codecs])

    @property
    def segments(self) -> int:
        """N, the number of segments and the highest cut."""
        return len(self.head_s) - 1
