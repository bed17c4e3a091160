"""T_total of Eq. 7 as a function of the partition point lambda, and its slope.

lambda, from 0 to 1, is the share of the network's depth that the head has: cut n of N segments
stands at lambda = n / N. Between the cuts whose costs are known, lambda_C and lambda_M (the shares
of operations and of memory traffic) and the crossing bytes N_e are interpolated, each piecewise
linear. What Eq. 5 and 6 call lambda * N and (1 - lambda) * N is the load of the halves, so
here lambda_C(lambda) * N and (1 - lambda_C(lambda)) * N; at the cuts the times are then those
of the planner's cost model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from codesign_ros.cost.link import round_trip_s
from codesign_ros.cost.roofline import RooflineMode, attainable_flops, compute_s, intensity
from codesign_ros.cost.tables import NO_CODEC, CostTables
from codesign_ros.types.devices import DeviceSpec
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import Structure
from codesign_ros.types.links import LinkSpec

# So near a point counts as the cut itself [share of depth].
_SAME = 1e-7


@dataclass(frozen=True, eq=False)
class SplitCurves:
    """What Algorithm 1 knows of the network: values at the cuts, piecewise linear between them.

    Attributes:
        cuts: (n,) the cuts whose crossing bytes are known, rising, 0 and N among them.
        depth: (n,) lambda of each.
        flops: (n,) operations up to each cut, lambda_C * N [FLOP].
        traffic_bytes: (n,) memory traffic up to each cut, lambda_M * M_0 [bytes].
        payload_bytes: (n,) N_e, what crosses at each cut [bytes]; 0 at cut N.
        structure: structure of both halves.
        codec: how tensors are encoded.
        frame_codec: how the frame is encoded, at cut 0.
        answer_bytes: as in ``CostTables``.
    """

    cuts: np.ndarray
    depth: np.ndarray
    flops: np.ndarray
    traffic_bytes: np.ndarray
    payload_bytes: np.ndarray
    structure: Structure = Structure.S3
    codec: str = NO_CODEC
    frame_codec: str = NO_CODEC
    answer_bytes: float | None = None


def split_curves(
    tables: CostTables, structure: Structure = Structure.S3, codec: str = NO_CODEC
) -> SplitCurves:
    """Take Algorithm 1's curves out of cost tables.

    Args:
        tables: must hold operations and traffic of the segments.
        structure: structure of both halves.
        codec: how to encode; at cut 0 the frame goes raw where the codec cannot send it.

    Raises:
        CodesignError: structure or codec are not in the tables, or operations were not counted.
    """
    if tables.segment_flops is None or tables.segment_bytes is None:
        raise CodesignError("Algorithm 1 needs operations and memory traffic of every segment")
    axes = tables.axes
    if structure not in axes.structures or codec not in axes.codecs:
        raise CodesignError(
            f"Algorithm 1 cannot plan {structure.value} with {codec}: structures are "
            f"{', '.join(s.value for s in axes.structures)}, codecs {', '.join(axes.codecs)}"
        )
    column = axes.structures.index(structure)
    payload = tables.payload_bytes[:, axes.codecs.index(codec)].copy()
    payload[-1] = 0.0
    frame_codec = codec
    if np.isnan(payload[0]):
        frame_codec = NO_CODEC
        payload[0] = tables.payload_bytes[0, axes.codecs.index(NO_CODEC)]
    cuts = np.flatnonzero(~np.isnan(payload))
    if cuts[0] != 0:
        raise CodesignError("Algorithm 1 needs the frame's size, which is not known here")
    flops, traffic = (
        np.concatenate(([0.0], np.cumsum(segments[:, column])))[cuts]
        for segments in (tables.segment_flops, tables.segment_bytes)
    )
    return SplitCurves(
        *(cuts, cuts / tables.segments, flops, traffic, payload[cuts]),
        *(structure, codec, frame_codec, tables.answer_bytes),
    )


class TotalTime:
    """T_total of Eq. 7 as a function of lambda, with its slope to either side."""

    def __init__(
        self,
        curves: SplitCurves,
        robot: DeviceSpec,
        server: DeviceSpec,
        link: LinkSpec,
        mode: RooflineMode,
    ) -> None:
        self.curves, self.link, self.mode = curves, link, mode
        self.robot, self.server = robot, server
        self._link_s = round_trip_s(curves.payload_bytes, link, curves.answer_bytes)
        self._link_s[-1] = 0.0
        # Where I_1 is greatest: on each piece it is a ratio of linear functions, hence monotone.
        self.most_intense = float(max(curves.depth, key=self.intensity))

    def _load(self, depth: float) -> tuple[float, float]:
        """Operations and traffic of the head."""
        curves = self.curves
        return (
            float(np.interp(depth, curves.depth, curves.flops)),
            float(np.interp(depth, curves.depth, curves.traffic_bytes)),
        )

    def _rest(self, flops: float, traffic: float) -> tuple[float, float]:
        """Operations and traffic of the tail."""
        return float(self.curves.flops[-1]) - flops, float(self.curves.traffic_bytes[-1]) - traffic

    def intensity(self, depth: float) -> float:
        """I_1 (Eq. 1); of an empty head that of its first operations, as the limit has it."""
        flops, traffic = self._load(max(depth, _SAME))
        return intensity(flops, traffic)

    def stages_s(self, depth: float) -> tuple[float, float, float]:
        """T1, T3 and T2 (Eq. 5-7)."""
        flops, traffic = self._load(depth)
        more_flops, more_bytes = self._rest(flops, traffic)
        return (
            compute_s(flops, traffic, self.robot, self.mode),
            float(np.interp(depth, self.curves.depth, self._link_s)),
            compute_s(more_flops, more_bytes, self.server, self.mode),
        )

    def __call__(self, depth: float) -> float:
        """T_total (Eq. 7) [s]."""
        return sum(self.stages_s(depth))

    def slopes_s(self, depth: float) -> tuple[float, float]:
        """Derivatives of T_total to the left and to the right; 0 beyond the ends."""
        curves = self.curves
        nearest = int(np.abs(curves.depth - depth).argmin())
        if abs(curves.depth[nearest] - depth) > _SAME:
            piece = int(np.searchsorted(curves.depth, depth))
            slope = self._slope_s(piece, depth)
            return slope, slope
        last = len(curves.depth) - 1
        return (
            self._slope_s(nearest, depth) if nearest > 0 else 0.0,
            self._slope_s(nearest + 1, depth) if nearest < last else 0.0,
        )

    def _slope_s(self, piece: int, depth: float) -> float:
        """Derivative on the piece that ends at node ``piece``, at ``depth`` or its limit there."""
        curves = self.curves
        width = curves.depth[piece] - curves.depth[piece - 1]
        more_flops, more_bytes, more_link_s = (
            float(values[piece] - values[piece - 1]) / float(width)
            for values in (curves.flops, curves.traffic_bytes, self._link_s)
        )
        flops, traffic = self._load(depth)
        head = self._half_slope_s(flops, traffic, more_flops, more_bytes, self.robot)
        tail = self._half_slope_s(*self._rest(flops, traffic), more_flops, more_bytes, self.server)
        return head - tail + more_link_s

    def _half_slope_s(
        self, flops: float, traffic: float, more_flops: float, more_bytes: float, device: DeviceSpec
    ) -> float:
        """Derivative of C / (mu * attainable): by the traffic where memory bounds it, else by C."""
        # An empty half starts with the piece's own intensity.
        ratio = intensity(flops, traffic) if flops > 0 else intensity(more_flops, more_bytes)
        attainable = attainable_flops(ratio, device, self.mode)
        if attainable >= ratio * device.memory_bandwidth:
            return more_bytes / (device.utilisation * device.memory_bandwidth)
        return more_flops / (device.utilisation * attainable)
