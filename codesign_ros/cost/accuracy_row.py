"""One measurement of accuracy, and how it stands in a file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from codesign_ros.types.forms import Merge, Structure


@dataclass(frozen=True)
class AccuracyRow:
    """One measurement: a metric's ``value`` (0 to 1) for a network in these shapes.

    ``cut`` is None where nothing was cut (and the codec therefore ``raw``). ``details`` are further
    values of the same measurement, 0 to 1, such as ``map50.helmet`` or ``coco.ap_small``.
    ``standard_error`` is that of the difference which the row is measured for, 0 to 1: from the
    same form uncut where something is sent (with the camera's JPEG where that was encoded anew, see
    ``encoded_anew``), else from the unchanged network, the same frames in both. None =
    not worked out, as in tables of former versions. ``unsent``, the value that it is compared with,
    where that was measured on other frames than the rest of the table: on a film, which codecs need
    that write a frame after the one before; None = the table's own row.
    """

    merge: Merge
    head_structure: Structure
    tail_structure: Structure
    precision: str
    codec: str
    cut: int | None
    value: float
    details: Mapping[str, float] = field(default_factory=dict)
    standard_error: float | None = None
    unsent: float | None = None


def row_from_json(content: Any) -> AccuracyRow:
    """Read a row.

    Raises:
        KeyError: a field is missing.
        ValueError, TypeError, AttributeError: a field has an impossible value.
    """
    cut = content["cut"]
    if cut is not None and (not isinstance(cut, int) or isinstance(cut, bool) or cut < 0):
        raise ValueError(f"cut must be a number of segments or null, not {cut!r}")
    error, unsent = content.get("standard_error"), content.get("unsent")
    return AccuracyRow(
        merge=Merge(content["merge"]),
        head_structure=Structure(content["head_structure"]),
        tail_structure=Structure(content["tail_structure"]),
        precision=str(content["precision"]),
        codec=str(content["codec"]),
        cut=cut,
        value=share_from_json(content["value"]),
        details=details_from_json(content),
        standard_error=None if error is None else share_from_json(error),
        unsent=None if unsent is None else share_from_json(unsent),
    )


def details_from_json(content: Any) -> dict[str, float]:
    """Read further values of a measurement; there may be none.

    Raises:
        ValueError, TypeError, AttributeError: one has an impossible value.
    """
    details = content.get("details", {}).items()
    return {str(name): share_from_json(value) for name, value in details}


def share_from_json(value: Any) -> float:
    """Read a number from 0 to 1.

    Raises:
        ValueError, TypeError: it is none.
    """
    share = float(value)
    if not (math.isfinite(share) and 0.0 <= share <= 1.0):
        raise ValueError(f"{value!r} is not between 0 and 1")
    return share
