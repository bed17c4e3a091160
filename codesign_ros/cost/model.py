"""The cost models of the planner's three modes: ``paper``, ``roofline`` and ``measured``.

Each answers the same questions (the protocol ``codesign_ros.planning.problem.CostModel``) and
answers None where it does not know; such a choice is then not offered.
"""

from __future__ import annotations

from collections.abc import Mapping

from codesign_ros.cost.accuracy import AccuracyTable, total_loss
from codesign_ros.cost.measured import MeasuredStages
from codesign_ros.cost.payload import payload_bytes
from codesign_ros.cost.profile import NetworkProfile
from codesign_ros.cost.roofline import RooflineMode, compute_s
from codesign_ros.types import CodesignError, DeviceSpec, Merge, Structure

MODES = ("measured", RooflineMode.ROOFLINE.value, RooflineMode.PAPER.value)
"""The planner's modes; all but the first follow from the devices' peaks."""

# The structure by whose load lambda of Eq. 10 is counted: the folded network, which every device
# can run.
_BASE = Structure.S3


class AnalyticCost:
    """Modes ``paper`` and ``roofline``: times from the devices' peaks, sizes from shapes.

    Codecs are taken to need no time, since the model knows nothing of them.

    Args:
        profile: what the network does.
        robot: the device of the head.
        server: the device of the tail; None if there is none.
        mode: how time follows from intensity.
        accuracy: measured accuracy. What it does not tell the loss of is not offered: pruning,
            other precisions, codecs. Folding in fp32 is exact and loses nothing. Without a table,
            or with one that has no measurement (a network whose output means nothing to us has
            none), time alone decides between codecs.
        measured_bytes: mean payload by (cut, codec) [bytes], needed for codecs whose size depends
            on the values (jpeg, zstd); it goes before the size worked out from the shape.
    """

    def __init__(
        self,
        profile: NetworkProfile,
        robot: DeviceSpec,
        server: DeviceSpec | None,
        mode: RooflineMode,
        accuracy: AccuracyTable | None = None,
        measured_bytes: Mapping[tuple[int, str], float] | None = None,
    ) -> None:
        self._profile = profile
        self._robot = robot
        self._server = server
        self._mode = mode
        self._accuracy = accuracy
        self._measured_bytes = dict(measured_bytes or {})

    @property
    def segments(self) -> int:
        """N, the number of segments."""
        return self._profile.segments

    def head_s(
        self, cut: int, structure: Structure, codec: str, precision: str = "fp32"
    ) -> float | None:
        """T_1 of Eq. 5 [s]; None but for fp32, for which the devices' peaks are."""
        return self._half_s(0, cut, structure, self._robot) if precision == "fp32" else None

    def tail_s(
        self, cut: int, structure: Structure, codec: str, precision: str = "fp32"
    ) -> float | None:
        """T_2 of Eq. 6 [s]; None without a server, and as for ``head_s``."""
        if self._server is None or precision != "fp32":
            return None
        return self._half_s(cut, self.segments, structure, self._server)

    def payload_bytes(self, cut: int, codec: str) -> float | None:
        """Bytes that cross at ``cut``; None where the codec's size is not known."""
        measured = self._measured_bytes.get((cut, codec))
        if measured is not None:
            return measured
        sizes = [payload_bytes(spec, codec) for spec in self._profile.crossings[cut]]
        known = [size for size in sizes if size is not None]
        return float(sum(known)) if len(known) == len(sizes) else None

    def accuracy_loss(
        self,
        cut: int,
        head: Structure,
        tail: Structure,
        merge: Merge,
        precision: str,
        codec: str,
    ) -> float | None:
        """Delta A_total of Eq. 10 and the codec's loss; None where it was not measured."""
        fraction = self._profile.load_fraction(cut, _BASE)
        return _accuracy_loss(self._accuracy, fraction, cut, head, tail, merge, precision, codec)

    def _half_s(
        self, cut_from: int, cut_to: int, structure: Structure, device: DeviceSpec
    ) -> float:
        flops = self._profile.flops(cut_from, cut_to, structure)
        traffic = self._profile.bytes(cut_from, cut_to, structure)
        return compute_s(flops, traffic, device, self._mode)


class MeasuredCost:
    """Mode ``measured``: what the devices timed on themselves.

    Args:
        segments: N, the number of the network's segments.
        head: the robot's measurements.
        tail: the server's; None if there is none.
        codec_bytes: mean payload by (cut, codec) [bytes], as the head measured it.
        sendable_bytes: mean size of the camera's JPEGs where cut 0 can send them as they are
            [bytes]; 0 = it cannot, and the head decodes and encodes them. Such a frame costs the
            head no time, and no accuracy: the whole network sees the same JPEG.
        accuracy: as for :class:`AnalyticCost`.

    Raises:
        CodesignError: the head has not measured the whole network in structure S3.
    """

    def __init__(
        self,
        segments: int,
        head: MeasuredStages,
        tail: MeasuredStages | None,
        codec_bytes: Mapping[tuple[int, str], float],
        accuracy: AccuracyTable | None = None,
        sendable_bytes: float = 0.0,
    ) -> None:
        if (segments, _BASE) not in head.stage_s:
            raise CodesignError(
                f"the head has not measured the whole network (cut {segments}, {_BASE.value}); "
                "without it nothing can be planned"
            )
        self._segments = segments
        self._head = head
        self._tail = tail
        self._codec_bytes = dict(codec_bytes)
        self._accuracy = accuracy
        self._sendable_bytes = sendable_bytes

    @property
    def segments(self) -> int:
        """N, the number of segments."""
        return self._segments

    def head_s(
        self, cut: int, structure: Structure, codec: str, precision: str = "fp32"
    ) -> float | None:
        """Time to prepare the frame, to run segments 1..cut and to encode [s]."""
        if self._is_sent_as_it_is(cut, codec):
            return 0.0
        if cut == self._segments:
            return self._head.time_s(cut, structure, precision)
        if cut == 0:
            # Preparing the frame is all that the head does, whatever the plan.
            return self._head.half_s(cut, _BASE, codec)
        return self._head.half_s(cut, structure, codec, precision)

    def tail_s(
        self, cut: int, structure: Structure, codec: str, precision: str = "fp32"
    ) -> float | None:
        """Time to decode and to run segments cut+1..N [s]; None without a server."""
        return None if self._tail is None else self._tail.half_s(cut, structure, codec, precision)

    def payload_bytes(self, cut: int, codec: str) -> float | None:
        """Bytes that cross at ``cut``; None where the head has not measured the codec there."""
        if self._is_sent_as_it_is(cut, codec):
            return self._sendable_bytes
        return self._codec_bytes.get((cut, codec))

    def accuracy_loss(
        self,
        cut: int,
        head: Structure,
        tail: Structure,
        merge: Merge,
        precision: str,
        codec: str,
    ) -> float | None:
        """Delta A_total of Eq. 10 and the codec's loss; None where it was not measured."""
        fraction = self._load_fraction(cut)
        if fraction is None:
            return None
        if self._is_sent_as_it_is(cut, codec):
            codec = "raw"
        return _accuracy_loss(self._accuracy, fraction, cut, head, tail, merge, precision, codec)

    def _is_sent_as_it_is(self, cut: int, codec: str) -> bool:
        return cut == 0 and codec == "jpeg" and self._sendable_bytes > 0

    def _load_fraction(self, cut: int) -> float | None:
        """Lambda as the head's share of the time that the whole network takes on the robot."""
        if cut == 0:
            return 0.0
        here = self._head.stage_s.get((cut, _BASE))
        if here is None:
            return None
        prepare = self._head.stage_s.get((0, _BASE), 0.0)
        whole = self._head.stage_s[self._segments, _BASE]
        # Timings are noisy: a head may seem to take longer than the whole.
        return min(1.0, max(0.0, (here - prepare) / (whole - prepare))) if whole > prepare else 1.0


def _accuracy_loss(
    table: AccuracyTable | None,
    load_fraction: float,
    cut: int,
    head: Structure,
    tail: Structure,
    merge: Merge,
    precision: str,
    codec: str,
) -> float | None:
    if table is None or not table.rows:
        return 0.0 if merge is Merge.FOLD and precision == "fp32" else None
    losses = (
        table.structure_loss(head, merge, precision),
        table.structure_loss(tail, merge, precision),
        table.codec_loss(cut, codec, precision, merge),
    )
    known = [loss for loss in losses if loss is not None]
    if len(known) < len(losses):
        return None
    head_loss, tail_loss, codec_loss = known
    return total_loss(load_fraction, head_loss, tail_loss) + codec_loss
