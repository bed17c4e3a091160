"""``codesign compare --live`` and ``--testbed``: real nodes in the place of simulated ones."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from codesign_ros.cli.common import bundle_path, codecs_chosen
from codesign_ros.cli.comparing.made import Made, PlannedLink
from codesign_ros.console import alive
from codesign_ros.types.errors import CodesignError

if TYPE_CHECKING:
    from codesign_ros.bundle import Bundle
    from codesign_ros.data.chosen import ChosenSource
    from codesign_ros.evaluation.compare.arrivals import Arrivals

# Options that say what is simulated.
_SIMULATED = (
    "robot", "server", "devices", "robot_profile", "server_profile", "link_delay_ms",
)  # fmt: skip
_RUN = (
    "run, not simulated: camera, head, tail and planner over DDS, {}; the recording once for each "
    "policy, one after the other"
)
_LIVE = (
    "on this machine, whose processor both halves share, the uplink's rate{} emulated by the head"
)
_TESTBED = "in two network namespaces with a shaped link, the robot on {:.0%} of a core"


def add(parser: argparse.ArgumentParser) -> None:
    """Add ``--live`` and ``--testbed``."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--live",
        action="store_true",
        help="run the four nodes on this machine, with --link and --robot-slowdown emulated, "
        "instead of simulating them",
    )
    group.add_argument(
        "--testbed",
        action="store_true",
        help="run them on the test bed, with --link shaped and the robot on 1/--robot-slowdown of "
        "a core; wants root and two cores",
    )


def check(options: argparse.Namespace, arrivals: Arrivals, link: PlannedLink) -> None:
    """Refuse what real nodes cannot have, before any work.

    Raises:
        CodesignError: an option is one of simulation's, the link changes, or there can be no bed.
    """
    how = "--live" if options.live else "--testbed"
    for name in _SIMULATED:
        if getattr(options, name) is not None:
            option = "--" + name.replace("_", "-")
            raise CodesignError(f"{how} runs what is there and takes no times: leave {option} out")
    if options.robot_slowdown < 1.0:
        raise CodesignError(f"{how} makes no robot faster: --robot-slowdown must be at least 1")
    if options.late_share:
        raise CodesignError(f"{how} holds one rate of the link: leave --late-share out")
    if link.spec.states or Path(options.link).is_file():
        raise CodesignError(f"{how} holds one rate of the link: give --link a rate, as 16mbps")
    try:
        from codesign_ros.demo.stage import pacing_of
    except ImportError as error:
        raise CodesignError(
            f"{how} needs ROS 2 and this package's messages ({error}); source the workspace"
        ) from None
    pacing_of(arrivals)
    if options.testbed:
        from codesign_ros.testbed.bed import why_not

        if reason := why_not():
            raise CodesignError(reason)


def compare_on_real_nodes(
    options: argparse.Namespace,
    bundle: Bundle,
    source: ChosenSource,
    policies: Sequence[str],
    arrivals: Arrivals,
    link: PlannedLink,
) -> Made:
    """Start the nodes and play the recording once under each policy."""
    from codesign_ros.demo.compared import compare_on_nodes
    from codesign_ros.demo.stage import RealRun, bed_nodes, live_nodes
    from codesign_ros.planning.objective import parse_objective
    from codesign_ros.runtime.planner.settings import PlannerSettings

    defaults = PlannerSettings()
    objective = parse_objective(options.objective or defaults.objective.value)
    lambda_1 = defaults.lambda_1 if options.lambda_1 is None else options.lambda_1
    run = RealRun(
        source=options.source,
        topic=options.topic,
        frames=options.frames,
        bundle=bundle_path(options).resolve(),
        backend=options.backend,
        arrivals=arrivals,
        link_bps=link.spec.bandwidth_bps,
        slowdown=options.robot_slowdown,
        precisions=tuple(dict.fromkeys(options.precision)),
        planner={
            "objective": objective.value,
            "lambda_1": lambda_1,
            **codecs_chosen(options.codec),
        },
    )
    slow, how = run.slowdown, _TESTBED.format(1 / run.slowdown)
    if options.live:
        how = _LIVE.format(f" and the robot's slowness ({slow:g} times)" if slow != 1 else "")
    nodes = live_nodes if options.live else bed_nodes
    with alive("starting the nodes") as tell, nodes(run, tell) as stage:
        compared = compare_on_nodes(
            stage,
            source,
            bundle,
            policies,
            options.backend,
            source.box_classes,
            lambda policy, seen: tell(f"{policy}: {seen} of {source.frames} frames"),
        )
    delay_s = link.spec.delay_s
    notes = [f"the link's delay of {1e3 * delay_s:g} ms is not there"] if delay_s else []
    return Made(
        compared,
        objective,
        "times as they were",
        is_run=True,
        how=_RUN.format(how),
        notes=("all waiting of a frame is told as the robot's (robot_wait)", *notes),
    )
