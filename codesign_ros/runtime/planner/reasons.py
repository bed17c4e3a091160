"""Why a plan is made, in one line that every plan can carry."""

from __future__ import annotations

import re
from collections.abc import Iterable

# Where news come faster than plans, a plan that is late would else have a reason longer than a
# message may have (1024 bytes, nodes/border), and could never be put in force; what is beside the
# news has the rest [bytes].
_MOST_BYTES = 700
_BETWEEN = "; "
_NUMBER = re.compile(r"[0-9.]+")


def joined(reasons: Iterable[str]) -> str:
    """Join news, in order, to one line of at most 700 bytes.

    Of news that differ in their numbers alone the newest says all. Where the rest is too long, the
    newest are kept, and how many were left out is said.
    """
    newest: dict[str, str] = {}
    for each in (part for reason in reasons for part in reason.split(_BETWEEN)):
        shape = _NUMBER.sub("#", each)
        newest.pop(shape, None)
        newest[shape] = each
    texts = list(newest.values())
    kept = len(texts)
    while kept > 1 and _bytes(texts[-kept:]) > _MOST_BYTES:
        kept -= 1
    left_out = len(texts) - kept
    lines = [f"{left_out} older news", *texts[-kept:]] if left_out else texts
    # A single one that is too long is cut off, where a character ends.
    return _BETWEEN.join(lines).encode()[:_MOST_BYTES].decode(errors="ignore")


def _bytes(texts: list[str]) -> int:
    return len(_BETWEEN.join(["999999 older news", *texts]).encode())
