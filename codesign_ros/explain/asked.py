"""What may be asked about a network, known before it is read."""

from __future__ import annotations

from codesign_ros.bundle import Bundle
from codesign_ros.types.errors import CodesignError, did_you_mean


def check_asked(bundle: Bundle, label: str | None, segment: str | None) -> None:
    """Refuse a class or a segment that a network has not.

    Args:
        bundle: the network.
        label: the class; None = none is asked for.
        segment: the segment; None likewise.

    Raises:
        CodesignError: the line says which there are.
    """
    for kind, name, known in (
        ("class", label, bundle.classes),
        ("segment", segment, bundle.segments),
    ):
        if name is not None and name not in known:
            raise CodesignError(
                f"there is no {kind} '{name}' in this bundle{did_you_mean(name, known)}; known are "
                f"{', '.join(known) or 'none'}"
            )
