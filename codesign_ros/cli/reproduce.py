"""``codesign reproduce``: the paper's tables and figures, its value beside ours."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codesign_ros.cli.common import add_json, command
from codesign_ros.cli.options.places import FIGURE_FILE
from codesign_ros.console import alive, progress_bar, show
from codesign_ros.types.errors import CodesignError

if TYPE_CHECKING:
    from codesign_ros.paper.results.checks import Check
    from codesign_ros.paper.results.prediction import Bench
    from codesign_ros.paper.results.sheet import Sheet
    from codesign_ros.paper.zoo import Zoo
    from codesign_ros.types.devices import DeviceSpec


def add(commands: Any) -> None:
    """Add the command to the parser."""
    text = "the co-design paper's tables and figures: its value, ours, the difference"
    targets = commands.add_parser("reproduce", help=text, description=text).add_subparsers(
        required=True, metavar="TARGET"
    )
    parser = command(targets, "table2", _table2, "intensities of the re-parameterised networks")
    add_accounting(parser)
    add_json(parser)
    add_json(command(targets, "table3", _table3, "networks against devices: computing or memory"))
    parser = command(targets, "fig8", _fig8, "throughput at each split point of Rep-GoogLeNet")
    parser.add_argument(
        "--plot", type=FIGURE_FILE, metavar="FILE", help="draw it as PNG, SVG or PDF"
    )
    add_json(parser)
    for name, run, does in (
        ("table4", _table4, "ablations: throughput by Eq. 8 and by a null model, gains by source"),
        ("fig5", _fig5, "throughput and response time of RepVGG, where the text prints them"),
        ("fig6", _fig6, "accuracies that the text prints, and how to measure them"),
        ("fig7", _fig7, "other robots, from what was fitted on the first"),
        ("table7", _table7, "helmet detector: throughput by Eq. 8, and what its link says"),
        ("checks", _checks, "where the paper contradicts its equations, its text or itself"),
    ):
        add_json(command(targets, name, run, does))


def add_accounting(parser: argparse.ArgumentParser) -> None:
    """Add ``--accounting``."""
    parser.add_argument(
        "--accounting",
        type=_accounting,
        metavar="NAME",
        help="what counts as an operation and a byte, e.g. flops/traffic (default: what comes "
        "closest to the paper's Table II; `codesign intensity` lists all)",
    )


def _accounting(text: str) -> str:
    """Check the name at once, and not after the work."""
    from codesign_ros.cost.intensity import what_counts

    try:
        what_counts(text)
    except CodesignError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def counted_zoo() -> Zoo:
    """Count the operations of the paper's networks, with a progress bar."""
    from codesign_ros.paper.zoo import count_zoo

    with progress_bar() as progress:
        task = progress.add_task("counting operations", total=None)
        return count_zoo(lambda done, total: progress.update(task, completed=done, total=total))


def paper_devices() -> Mapping[str, DeviceSpec]:
    """Read the package's devices."""
    from codesign_ros.cost.catalogue import load_devices
    from codesign_ros.resources import resource_path

    return load_devices(resource_path("config") / "devices.yaml")


def _table2(options: argparse.Namespace) -> int:
    from codesign_ros.paper.tables import table2
    from codesign_ros.paper.tables_report import table2_table

    content = table2(counted_zoo(), options.accounting)
    _show(table2_table(content), content, options.json)
    return 0


def _table3(options: argparse.Namespace) -> int:
    from codesign_ros.paper.tables import table3
    from codesign_ros.paper.tables_report import table3_table

    devices = paper_devices()
    content = table3(counted_zoo(), devices)
    _show(table3_table(content), content, options.json)
    return 0


def _show(table: Any, content: dict[str, Any], json_path: Path | None) -> None:
    counts = f"Operations: {content['operations']}. Bytes: {content['bytes']}, 4 an element (fp32)."
    show([table], (counts, *content["notes"]), json_path, content)


def _fig8(options: argparse.Namespace) -> int:
    from codesign_ros.cost.catalogue import find_device
    from codesign_ros.paper.fig8 import LINK, ROBOT, SERVER, SIDES, fig8_report, profile_googlenet
    from codesign_ros.paper.fig8_report import fig8_curves_table, fig8_figure, fig8_table
    from codesign_ros.whatif.pictures import write_figure

    devices = paper_devices()
    robot, server = (find_device(devices, name) for name in (ROBOT, SERVER))
    with alive("counting operations") as tell:
        networks = {f"{side}x{side}": profile_googlenet(side, tell) for side in SIDES}
    report = fig8_report(networks, robot, server, LINK)
    if options.plot is not None:
        write_figure(options.plot, fig8_figure(report))
    show((fig8_table(report), fig8_curves_table(report)), report["notes"], options.json, report)
    return 0


def _table4(options: argparse.Namespace) -> int:
    from codesign_ros.paper.results.table4 import table4, table4_sheets

    content = table4(paper_bench())
    return _show_sheets(table4_sheets(content), content, options)


def _fig5(options: argparse.Namespace) -> int:
    from codesign_ros.paper.results.fig5 import fig5, fig5_sheets

    content = fig5(paper_bench())
    return _show_sheets(fig5_sheets(content), content, options)


def _fig6(options: argparse.Namespace) -> int:
    from codesign_ros.paper.results.fig5 import fig6, fig6_sheet

    content = fig6()
    return _show_sheets([fig6_sheet(content)], content, options)


def _fig7(options: argparse.Namespace) -> int:
    from codesign_ros.paper.results.fig7 import fig7, fig7_sheet

    content = fig7(paper_bench())
    return _show_sheets([fig7_sheet(content)], content, options)


def _table7(options: argparse.Namespace) -> int:
    from codesign_ros.paper.results.table7 import table7_sheets

    content = paper_table7()
    return _show_sheets(table7_sheets(content), content, options)


def _checks(options: argparse.Namespace) -> int:
    from codesign_ros.paper.results.checks import checks_content, checks_sheet

    found = paper_checks()
    return _show_sheets([checks_sheet(found)], checks_content(found), options)


def _show_sheets(
    sheets: Sequence[Sheet], content: dict[str, Any], options: argparse.Namespace
) -> int:
    show([sheet.table() for sheet in sheets], content["notes"], options.json, content)
    return 0


def paper_bench() -> Bench:
    """Count the networks of Table IV, with a progress bar, and put them on the paper's devices."""
    from codesign_ros.paper.fig8 import LINK, SERVER
    from codesign_ros.paper.results.networks import profile_subjects
    from codesign_ros.paper.results.prediction import Bench

    devices = paper_devices()
    with progress_bar() as progress:
        task = progress.add_task("counting operations", total=None)
        networks = profile_subjects(
            lambda done, total: progress.update(task, completed=done, total=total)
        )
    robots = {name: devices[name] for name in ("jetson-nano", "jetson-tx1", "jetson-tx2")}
    return Bench(networks, robots, devices[SERVER], LINK)


def paper_table7() -> dict[str, Any]:
    """Work out Table VII on the paper's devices and link."""
    from codesign_ros.cost.catalogue import load_links
    from codesign_ros.paper.results.networks import profile_detector
    from codesign_ros.paper.results.table7 import table7
    from codesign_ros.resources import resource_path

    devices = paper_devices()
    link = load_links(resource_path("config") / "links.yaml")["paper"]
    with alive("counting operations"):
        detectors = {width: profile_detector(width) for width in ("nano", "small")}
    return table7(detectors, devices["jetson-tx2"], devices["rtx-4090"], link)


def paper_checks() -> list[Check]:
    """Check the paper's figures against each other."""
    from codesign_ros.paper.results.checks import checks
    from codesign_ros.paper.results.networks import VARIANTS, Subject, profile_subject

    with alive("counting operations"):
        repvggs = {
            variant: profile_subject(Subject.of("RepVGG", variant, 0, "own"), {})
            for variant in VARIANTS["RepVGG"]
        }
    return checks(repvggs, paper_devices()["jetson-nano"])
