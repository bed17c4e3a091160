"""Accuracy loss from measured accuracy (paper, Eq. 9)."""

from __future__ import annotations

import json
import math
import re
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

from codesign_ros.cost.accuracy_row import (
    AccuracyRow,
    details_from_json,
    row_from_json,
    share_from_json,
)
from codesign_ros.types.codec_names import H264_CODECS, LOSSLESS_STAGE, is_encoded_anew, neck_level
from codesign_ros.types.errors import CodesignError, one_line
from codesign_ros.types.forms import Merge, Structure

# Another processor may round otherwise; other frames make more of a difference.
_SAME = 1e-4

STANDARD_ERRORS = 1.0
"""A difference of accuracy within so many of its standard errors decides nothing."""

# "500 frames of ...", as whoever measures writes it.
_COUNT = re.compile(r"(\d+) ")

_RAW, _JPEG = "raw", "jpeg"
_Shape = tuple[Merge, Structure, Structure, str]


class Loss(NamedTuple):
    """What a choice loses, as far as measurements tell.

    Attributes:
        value: the loss, 0 to 1.
        error: its standard error; None = not known.
        resolution: a loss within this of another one is equal to it; None = the loss was not
            measured but stands in for one that was not, so nothing tells what it is equal to.
    """

    value: float
    error: float | None
    resolution: float | None


_EXACT = Loss(0.0, 0.0, 0.0)


@dataclass(frozen=True)
class AccuracyTable:
    """All measurements of one bundle, ``accuracy.json``.

    Attributes:
        metric: what was measured: ``accuracy``, or ``map50``, the mean over the classes of the
            average precision at an overlap of 0.5.
        reference: its value for the unchanged network, 0 to 1.
        data: on which data.
        rows: the measurements.
        details: further values for the unchanged network, see ``AccuracyRow``.
    """

    metric: str
    reference: float
    data: str
    rows: tuple[AccuracyRow, ...]
    details: Mapping[str, float] = field(default_factory=dict)

    @cached_property
    def frames(self) -> int | None:
        """Of how many frames the accuracy was measured: what ``data`` begins with; else None."""
        count = _COUNT.match(self.data)
        return int(count[1]) if count and int(count[1]) > 0 else None

    def standard_error(self, difference: float) -> float | None:
        """Standard error of a difference of two values, at least; None where it is not known.

        Both were measured on the same n frames, so a difference d needs at least the share d of
        them to have come off otherwise. As that share's its error is binomial,
        sqrt(d (1 - d) / n); frames that changed to and fro would add to it.
        """
        if self.frames is None:
            return None
        return math.sqrt(difference * (1.0 - difference) / self.frames)

    @property
    def resolution(self) -> float:
        """The largest difference within ``STANDARD_ERRORS`` of its own, where rows have no errors.

        d = k sqrt(d (1 - d) / n) solved for d: k^2 / (n + k^2). 0 where n is not known.
        """
        if self.frames is None:
            return 0.0
        return STANDARD_ERRORS**2 / (self.frames + STANDARD_ERRORS**2)

    def structure_loss(self, structure: Structure, merge: Merge, precision: str) -> Loss | None:
        """Delta A_n(theta) of Eq. 9: what is lost when the whole network has this structure.

        Eq. 9 picks one of four measured losses by a Sign function; here it is looked up. A value
        above the reference counts as no loss. Folding branches in fp32 is exact: the structures are
        one function, whose loss is 0 without a measurement; ``rank`` never is.

        Returns:
            The loss, or None where it was not measured.
        """
        folded = (merge, precision) == (Merge.FOLD, "fp32")
        if folded and structure is not Structure.RANK:
            return _EXACT
        row = self._uncut.get((merge, structure, structure, precision))
        return None if row is None else self._loss(max(0.0, self.reference - row.value), row)

    def codec_loss(self, cut: int, codec: str, precision: str, merge: Merge) -> Loss | None:
        """What the codec loses at ``cut`` against the same network with nothing on the wire.

        ``raw`` loses nothing: the tail gets the very tensors. Nor does zstd on top of a codec. What
        a camera's JPEG loses that is encoded anew (``encoded_anew``) is against that
        JPEG. Where a codec was measured at cuts before and behind this one, the larger loss of the
        two nearest stands for it; never for a neck, which is another network at each cut.

        The largest loss counts where several structures were measured. Where the codec was not
        measured there with this merge, the largest loss with another one stands for it: the codec
        rounds what crosses, and the merge is a loss of its own (``structure_loss``).

        Returns:
            The loss, or None where the codec was measured neither here nor on both sides.
        """
        codec = codec.removesuffix(LOSSLESS_STAGE)
        if codec == _RAW:
            return _EXACT
        of_codec = self._codec_losses.get((codec, precision), {})
        at: Callable[[Mapping[int, Loss], int], Loss | None] = _around
        if neck_level(codec) is not None:
            at = Mapping.get
        loss = at(of_codec.get(merge, {}), cut)
        if loss is not None:
            return loss
        losses = [at(by_cut, cut) for by_cut in of_codec.values()]
        return max((loss for loss in losses if loss is not None), key=_value, default=None)

    def is_codec_measured(self, cut: int, codec: str) -> bool:
        """Whether a codec was measured at this very cut, in whatever form."""
        codec = codec.removesuffix(LOSSLESS_STAGE)
        return any((row.cut, row.codec) == (cut, codec) for row in self.rows)

    @property
    def video_codecs(self) -> tuple[str, ...]:
        """Those codecs that write a frame after the one before which were measured, on a film."""
        return tuple(codec for codec in H264_CODECS if self.is_codec_measured(0, codec))

    def extended(self, other: AccuracyTable) -> AccuracyTable:
        """Add what another table knows of the same network on the same frames.

        Rows that are here stay as they are. Of a film only those rows are added that were measured
        against that film itself, whatever frames the others are of.

        Raises:
            CodesignError: the unchanged network came off otherwise in the other table, so it was
                measured on other frames or is of another network.
        """
        films = tuple(row for row in other.rows if row.unsent is not None)
        if films and other.metric == self.metric:
            return self._with(films)
        mine, theirs = ({t.metric: t.reference, **t.details} for t in (self, other))
        if mine.keys() != theirs.keys() or not all(
            math.isclose(value, theirs[name], abs_tol=_SAME) for name, value in mine.items()
        ):
            raise CodesignError(
                f"the unchanged network reaches {other.reference:.4f} {other.metric} on "
                f"{other.data}, and {self.reference:.4f} {self.metric} in the table, which is of "
                f"{self.data}: measure on the same frames, or write the table anew"
            )
        return self._with(other.rows)

    def _with(self, rows: Sequence[AccuracyRow]) -> AccuracyTable:
        """Add rows of what is not here."""
        known = {_measured(row) for row in self.rows}
        new = tuple(row for row in rows if _measured(row) not in known)
        return replace(self, rows=self.rows + new)

    def to_json(self) -> str:
        """Write the table as text that :meth:`from_json` reads."""
        content = asdict(self)
        for measured in (content, *content["rows"]):
            if not measured["details"]:
                del measured["details"]
            for name in ("standard_error", "unsent"):
                if measured.get(name, 0.0) is None:
                    del measured[name]
        return json.dumps(content, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> AccuracyTable:
        """Read a table.

        Raises:
            CodesignError: the text is not JSON, or a field is missing or has an impossible value.
        """
        try:
            content = json.loads(text)
            return cls(
                metric=str(content["metric"]),
                reference=share_from_json(content["reference"]),
                data=str(content["data"]),
                rows=tuple(row_from_json(row) for row in content["rows"]),
                details=details_from_json(content),
            )
        except KeyError as error:
            raise CodesignError(f"the accuracy table lacks the field {error}") from None
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            reason = one_line(error)
            raise CodesignError(f"the accuracy table cannot be read: {reason}") from None

    def _loss(self, value: float, row: AccuracyRow) -> Loss:
        """A measured loss with its error, or with the least that it can be where none is known."""
        if row.standard_error is None:
            return Loss(value, self.standard_error(value), self.resolution)
        return Loss(value, row.standard_error, STANDARD_ERRORS * row.standard_error)

    # Looked up for every candidate of a search, hence by key.
    @cached_property
    def _uncut(self) -> dict[_Shape, AccuracyRow]:
        return {_shape(row): row for row in self.rows if (row.codec, row.cut) == (_RAW, None)}

    @cached_property
    def _codec_losses(self) -> dict[tuple[str, str], dict[Merge, dict[int, Loss]]]:
        """Loss by codec (zstd left out) and precision, then by merge, then by measured cut."""
        losses: dict[tuple[str, str], dict[Merge, dict[int, Loss]]] = {}
        jpegs = {_shape(row): row for row in self.rows if (row.codec, row.cut) == (_JPEG, 0)}
        for row in self.rows:
            of = jpegs if is_encoded_anew(row.codec) else self._uncut
            known = of.get(_shape(row))
            unsent = known.value if row.unsent is None and known is not None else row.unsent
            if row.cut is not None and unsent is not None:
                codec = row.codec.removesuffix(LOSSLESS_STAGE)
                by_cut = losses.setdefault((codec, row.precision), {}).setdefault(row.merge, {})
                loss = self._loss(max(0.0, unsent - row.value), row)
                by_cut[row.cut] = max(by_cut.get(row.cut, loss), loss, key=_value)
        return losses


def loss_allowed(accuracy: AccuracyTable | None, floor: float) -> float:
    """Turn an accuracy floor, in the metric's own units, into the most that may be lost.

    Raises:
        CodesignError: nothing was measured, or the network itself does not reach the floor.
    """
    if not 0 <= floor <= 1:
        raise CodesignError(f"an accuracy floor is a share from 0 to 1, not {floor:g}")
    if accuracy is None or not accuracy.rows:
        raise CodesignError(
            "an accuracy floor needs measured accuracy, and this bundle has none; measure it with "
            "'codesign accuracy BUNDLE'"
        )
    if floor > accuracy.reference:
        raise CodesignError(
            f"the accuracy floor of {floor:g} is above what the unchanged network reaches: "
            f"{accuracy.reference:.4f} {accuracy.metric} on {accuracy.data}; over by "
            f"{floor - accuracy.reference:.4f}"
        )
    return accuracy.reference - floor


def _around(losses: Mapping[int, Loss], cut: int) -> Loss | None:
    """Loss at a cut, or the larger one of the nearest cuts on both sides; else None."""
    if cut in losses:
        return losses[cut]
    cuts = sorted(losses)
    behind = bisect_left(cuts, cut)
    if not 0 < behind < len(cuts):
        return None
    return Loss(max(losses[cuts[behind - 1]].value, losses[cuts[behind]].value), None, None)


def _value(loss: Loss) -> float:
    return loss.value


def _measured(row: AccuracyRow) -> tuple[object, ...]:
    """Say what a row has the value of."""
    return (*_shape(row), row.codec, row.cut)


def _shape(row: AccuracyRow) -> _Shape:
    return row.merge, row.head_structure, row.tail_structure, row.precision
