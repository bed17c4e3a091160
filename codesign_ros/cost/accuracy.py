"""Accuracy loss from measured accuracy (paper, Eq. 9 and 10)."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from codesign_ros.types import CodesignError, Merge, Structure

_RAW = "raw"


@dataclass(frozen=True)
class AccuracyRow:
    """One measurement: a metric's ``value`` (0 to 1) for a network in these shapes.

    ``cut`` is None where nothing was cut (and the codec therefore ``raw``).
    """

    merge: Merge
    head_structure: Structure
    tail_structure: Structure
    precision: str
    codec: str
    cut: int | None
    value: float


@dataclass(frozen=True)
class AccuracyTable:
    """All measurements of one bundle, ``accuracy.json``.

    Attributes:
        metric: what was measured, e.g. ``accuracy``.
        reference: its value for the unchanged network, 0 to 1.
        data: on which data.
        rows: the measurements.
    """

    metric: str
    reference: float
    data: str
    rows: tuple[AccuracyRow, ...]

    def structure_loss(self, structure: Structure, merge: Merge, precision: str) -> float | None:
        """Delta A_n(theta) of Eq. 9: what is lost when the whole network has this structure.

        Eq. 9 picks one of four measured losses by a Sign function; here it is looked up. A value
        above the reference counts as no loss.

        Returns:
            The loss, 0 to 1, or None where it was not measured.
        """
        value = self._uncut.get((merge, structure, structure, precision))
        return None if value is None else max(0.0, self.reference - value)

    def codec_loss(self, cut: int, codec: str, precision: str) -> float:
        """What the codec loses at ``cut`` against the same network with nothing on the wire.

        The largest loss counts where several structures were measured; 0 where none was.
        """
        return self._codec_losses.get((cut, codec, precision), 0.0)

    def to_json(self) -> str:
        """Write the table as text that :meth:`from_json` reads."""
        return json.dumps(asdict(self), indent=1) + "\n"

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
                reference=_share(content["reference"]),
                data=str(content["data"]),
                rows=tuple(_row(row) for row in content["rows"]),
            )
        except KeyError as error:
            raise CodesignError(f"the accuracy table lacks the field {error}") from None
        except (ValueError, TypeError, RecursionError) as error:
            reason = " ".join(str(error).split())
            raise CodesignError(f"the accuracy table cannot be read: {reason}") from None

    # Looked up for every candidate of a search, hence by key.
    @cached_property
    def _uncut(self) -> dict[tuple[Merge, Structure, Structure, str], float]:
        return {_shape(row): row.value for row in self.rows if (row.codec, row.cut) == (_RAW, None)}

    @cached_property
    def _codec_losses(self) -> dict[tuple[int, str, str], float]:
        losses: dict[tuple[int, str, str], float] = {}
        for row in self.rows:
            uncut = self._uncut.get(_shape(row))
            if row.cut is not None and uncut is not None:
                key = (row.cut, row.codec, row.precision)
                losses[key] = max(losses.get(key, 0.0), uncut - row.value)
        return losses


def _shape(row: AccuracyRow) -> tuple[Merge, Structure, Structure, str]:
    return row.merge, row.head_structure, row.tail_structure, row.precision


def total_loss(load_fraction: float, head_loss: float, tail_loss: float) -> float:
    """Delta A_total = lambda * Delta A_1 + (1 - lambda) * Delta A_2 (Eq. 10)."""
    return load_fraction * head_loss + (1.0 - load_fraction) * tail_loss


def _row(content: Any) -> AccuracyRow:
    cut = content["cut"]
    if cut is not None and (not isinstance(cut, int) or isinstance(cut, bool) or cut < 0):
        raise ValueError(f"cut must be a number of segments or null, not {cut!r}")
    return AccuracyRow(
        merge=Merge(content["merge"]),
        head_structure=Structure(content["head_structure"]),
        tail_structure=Structure(content["tail_structure"]),
        precision=str(content["precision"]),
        codec=str(content["codec"]),
        cut=cut,
        value=_share(content["value"]),
    )


def _share(value: Any) -> float:
    share = float(value)
    if not (math.isfinite(share) and 0.0 <= share <= 1.0):
        raise ValueError(f"{value!r} is not between 0 and 1")
    return share
