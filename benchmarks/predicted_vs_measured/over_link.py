"""Plans on real nodes over a shaped link, as the running planner predicts them and as they are."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from codesign_ros.bundle import Bundle
from codesign_ros.console import slim_table
from codesign_ros.engines.cache import default_cache_dir
from codesign_ros.resources import default_bundle
from codesign_ros.testbed.bed import LinkShape
from codesign_ros.testbed.predictions import Compared, compare_over_link, draw_choices
from codesign_ros.testbed.session import Session
from codesign_ros.testbed.setup import Setup


def run_over_link(
    rates_bps: Sequence[float],
    count: int,
    seed: int,
    robot_cores: float,
    watched_s: float,
    console: Console,
) -> list[Compared]:
    """Draw plans for each rate of the link and run them, one frame in flight.

    Args:
        rates_bps: rates of the link [bit/s].
        count: how many plans at each rate.
        seed: of the draw.
        robot_cores: the robot's share of a core.
        watched_s: how long a plan is watched [s].
        console: where to tell how far it is.

    Raises:
        CodesignError: the link cannot be shaped here, or nodes do not do what they are told.
    """
    link = LinkShape(rates_bps[0])
    setup = Setup(link, robot_cores, precision="int8-channel", objective="latency", window=1)
    bundle, precisions = Bundle.open(default_bundle()), ("fp32", "int8-channel")
    choices = {
        rate_bps: draw_choices(bundle, precisions, rate_bps, count, seed) for rate_bps in rates_bps
    }
    with Session(setup, "predictions", default_cache_dir() / "testbed", console.print) as session:
        return list(compare_over_link(session, choices, watched_s, console.print))


def table_of(rows: Sequence[Compared]) -> Table:
    """The comparison as a table."""
    table = slim_table("over the shaped link, real nodes, one frame in flight [ms]")
    for name in ("Mbit/s", "cut, structure, precision, codec"):
        table.add_column(name)
    for name in ("predicted", "measured", "error", "response"):
        table.add_column(name, justify="right")
    for row in rows:
        text = f"{row.choice.cut:2d} {row.choice.structure} {row.choice.precision}"
        table.add_row(
            f"{row.rate_bps / 1e6:g}",
            f"{text} {row.choice.codec}",
            *(f"{sum(each):.1f}" for each in (row.predicted_ms, row.measured_ms)),
            f"{row.error:+.1%}",
            f"{row.response_ms:.1f}",
        )
    return table
