"""A comparison as it was made, and the link for it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codesign_ros.resources import resource_path
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.links import LinkSpec

if TYPE_CHECKING:
    import argparse

    from codesign_ros.evaluation.compare.rooflines import Rooflines
    from codesign_ros.evaluation.compare.run import Compared
    from codesign_ros.planning.objective import Objective
    from codesign_ros.simulation.link_rate import LinkRate

# A link that is slower than this is nobody's for pictures [bit/s].
_SLOWEST_BPS = 1000.0


@dataclass(frozen=True)
class PlannedLink:
    """A link.

    Attributes:
        spec: as it is planned with.
        rate: of the uplink over time.
        words: what it is.
    """

    spec: LinkSpec
    rate: LinkRate
    words: str


@dataclass(frozen=True)
class Made:
    """A comparison, and what its report says of how it came about.

    Attributes:
        compared: what came of the policies.
        objective: which time counts.
        times: where the times of robot and server come from, in words.
        is_run: whether real nodes ran; else link, queues and times are simulated.
        how: what that means, in words; empty = as simulation does.
        notes: what was estimated or left out, a line each.
        sweep: the best plan of each cut, as predicted.
        roofs: what its halves reach; None where nothing was predicted.
    """

    compared: Compared
    objective: Objective
    times: str
    is_run: bool = False
    how: str = ""
    notes: tuple[str, ...] = ()
    sweep: list[dict[str, Any]] = field(default_factory=list)
    roofs: Rooflines | None = None


def planned_link(options: argparse.Namespace) -> PlannedLink:
    """Read ``--link``, ``--links`` and ``--link-delay-ms``.

    Raises:
        CodesignError: there is no such link, the file is no trace, or hardly anything passes.
    """
    from codesign_ros.cost.catalogue import find_link, load_links
    from codesign_ros.evaluation.compare.report import link_words
    from codesign_ros.simulation.link_rate import StateRate, TraceRate

    file = Path(options.link)
    rate: Any
    if file.is_file():
        rate = TraceRate(file)
        link, how = LinkSpec(rate.bandwidth_bps, name=options.link), "trace, mean "
    else:
        known = load_links(Path(options.links or resource_path("config") / "links.yaml"))
        link = find_link(known, options.link)
        rate = StateRate(link)
        how = f"{len(link.states)} states in turn, mean " if link.states else ""
    if link.bandwidth_bps < _SLOWEST_BPS:
        raise CodesignError(
            f"link {options.link} passes {link.bandwidth_bps:g} bit/s on average: "
            f"{_SLOWEST_BPS:g} at least, or a picture is under way for days"
        )
    if options.link_delay_ms is not None:
        delay_s = options.link_delay_ms * 1e-3
        link = replace(link, delay_s=delay_s, downlink_delay_s=delay_s)
    words = link_words(options.link, link.bandwidth_bps, link.delay_s, how)
    return PlannedLink(link, rate, words)
