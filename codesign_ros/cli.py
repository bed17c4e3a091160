"""The command line: ``codesign demo | evaluate | mine | plan | profile | train``.

Each command imports what it needs when it runs: torch and ROS take seconds to load.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from rich.console import Console

from codesign_ros.cost.model import MODES
from codesign_ros.planning.objective import Objective, parse_objective
from codesign_ros.resources import resource_path
from codesign_ros.types import CodesignError, Merge, Structure
from codesign_ros.wire.codecs import FRAME_CODECS, KNOWN_CODECS, TENSOR_CODECS

if TYPE_CHECKING:
    from codesign_ros.bundle import Bundle

STRUCTURES = tuple(structure.value for structure in Structure)
MERGES = tuple(merge.value for merge in Merge)
OBJECTIVES = tuple(objective.value for objective in Objective)
_FILE_COLUMNS = 110
_TRAIN_MINUTES = 25.0


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line; ``--help`` shows the usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message} (see {self.prog} --help)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        0; 1 if the command ran and its result is bad; 2 after a user's mistake, which is told in
        one line on standard error; 130 after Ctrl-C.
    """
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except CodesignError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="codesign", description="One network across a robot and an edge server.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)
    for add in (_add_demo, _add_evaluate, _add_mine, _add_plan, _add_profile, _add_train):
        add(commands)
    return parser


def _command(commands: Any, name: str, run: Any, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(run=run)
    return parser


def _add_bundle(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--bundle", default="", help="model bundle (default: the one that comes with the package)"
    )


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", metavar="FILE", help="write the result as JSON too")


def _add_objective(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--objective", choices=OBJECTIVES, help="time that counts in Eq. 11")
    parser.add_argument(
        "--lambda-1", type=float, help="weight of the accuracy loss in Eq. 11 [s per unit]"
    )
    parser.add_argument(
        "--codec",
        nargs="+",
        choices=KNOWN_CODECS,
        metavar="CODEC",
        help=f"codecs to choose from: {', '.join(KNOWN_CODECS)}; jpeg and raw also hold for frames",
    )


def _codecs(chosen: list[str] | None) -> dict[str, list[str]]:
    """The planner's two lists for the codecs that the user allows; a list without any stays."""
    lists = {
        "codecs": [codec for codec in chosen or () if codec in TENSOR_CODECS],
        "frame_codecs": [codec for codec in chosen or () if codec in FRAME_CODECS],
    }
    return {name: codecs for name, codecs in lists.items() if codecs}


def _open_bundle(options: argparse.Namespace) -> Bundle:
    from codesign_ros.bundle import Bundle

    return Bundle.open(_bundle_path(options))


def _bundle_path(options: argparse.Namespace) -> Path:
    return Path(options.bundle or resource_path("bundles") / "mine_repvgg.bundle")


def _console() -> Console:
    """The console for results: as wide as the terminal, and wide enough in a file or a pipe."""
    return Console() if sys.stdout.isatty() else Console(width=_FILE_COLUMNS)


def _write_json(path: str | None, content: dict[str, Any]) -> None:
    if path is None:
        return
    try:
        Path(path).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise CodesignError(f"cannot write {path}: {error.strerror}") from None


def _add_demo(commands: Any) -> None:
    parser = _command(
        commands, "demo", _demo, "play a bag through camera, head, tail and planner processes"
    )
    parser.add_argument("--bag", default="", help="bag to play (default: the one of the package)")
    _add_bundle(parser)
    parser.add_argument("--params", help="parameter file (default: config/split_inference.yaml)")
    parser.add_argument("--script", help="what happens when (default: config/demo.yaml)")
    parser.add_argument("--frames", type=int, default=0, help="end after so many frames; 0 = all")
    parser.add_argument(
        "--no-emulation", action="store_true", help="both halves at this machine's own speed"
    )
    _add_objective(parser)
    parser.add_argument("--mode", choices=MODES, help="cost model of the planner")
    _add_json(parser)


def _demo(options: argparse.Namespace) -> int:
    from codesign_ros.evaluation.report import is_complete, print_report
    from codesign_ros.evaluation.scenario import read_scenario, without_emulation

    try:
        from codesign_ros.evaluation.demo import DemoOptions, run_demo
    except ImportError as error:
        raise CodesignError(
            f"the demo needs ROS 2 and this package's messages ({error}); use `make demo`, or "
            "build with colcon and source the workspace"
        ) from None

    config = resource_path("config")
    scenario = read_scenario(Path(options.script or config / "demo.yaml"))
    if options.no_emulation:
        scenario = without_emulation(scenario)
    planner = {
        name: value
        for name in ("objective", "lambda_1", "mode")
        if (value := getattr(options, name)) is not None
    }
    console = _console()
    summary = run_demo(
        DemoOptions(
            source=options.bag or str(resource_path("bags") / "mine_demo"),
            bundle=_bundle_path(options),
            params=Path(options.params or config / "split_inference.yaml"),
            scenario=scenario,
            planner={**planner, **_codecs(options.codec)},
            frames=options.frames,
        ),
        console,
    )
    print_report(summary, console)
    _write_json(options.json, summary)
    if is_complete(summary):
        console.print("[green]every frame has exactly one result, in order[/]")
        return 0
    console.print("[red]some frames have no result, or not exactly one in order[/]")
    return 1


def _add_evaluate(commands: Any) -> None:
    parser = _command(
        commands, "evaluate", _evaluate, "run a source through head, wire and tail in one process"
    )
    parser.add_argument("source", help="bag, video file, folder of images, or mine[:SEED]")
    _add_bundle(parser)
    parser.add_argument("--cut", type=int, help="0 to N (default: N, the whole network)")
    parser.add_argument("--head-structure", choices=STRUCTURES, default=STRUCTURES[0])
    parser.add_argument("--tail-structure", choices=STRUCTURES, default=STRUCTURES[0])
    parser.add_argument("--merge", choices=MERGES, default=MERGES[0])
    parser.add_argument("--codec", choices=KNOWN_CODECS, default="raw", metavar="CODEC")
    parser.add_argument("--backend", default="onnxruntime", help="onnxruntime or torch")
    parser.add_argument("--frames", type=int, default=0, help="end after so many frames; 0 = all")
    _add_json(parser)


def _evaluate(options: argparse.Namespace) -> int:
    from rich.progress import Progress

    from codesign_ros.data.sources import open_source
    from codesign_ros.evaluation.offline import evaluate
    from codesign_ros.evaluation.tables import evaluation_table

    bundle = _open_bundle(options)
    source = open_source(options.source, frames=options.frames)
    if source.frames is None:
        raise CodesignError(f"source {options.source} has no known end; give --frames")
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("evaluating", total=source.frames)
        evaluation = evaluate(
            source,
            bundle,
            cut=options.cut,
            head_structure=Structure(options.head_structure),
            tail_structure=Structure(options.tail_structure),
            merge=Merge(options.merge),
            codec=options.codec,
            backend=options.backend,
            progress=lambda done: progress.update(task, completed=done),
        )
    _console().print(evaluation_table(evaluation))
    _write_json(options.json, evaluation.to_json())
    return 0


def _add_mine(commands: Any) -> None:
    parser = _command(commands, "mine", _mine, "write a bag of synthetic mine scenes with truth")
    parser.add_argument("out", type=Path, help="bag directory to make")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same messages")
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--storage", choices=("mcap", "sqlite3"), default="mcap")
    parser.add_argument("--raw", action="store_true", help="sensor_msgs/Image in place of JPEGs")


def _mine(options: argparse.Namespace) -> int:
    from rich.progress import Progress

    from codesign_ros.data.mine_bag import write_mine_bag

    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("rendering", total=options.frames)
        write_mine_bag(
            options.out,
            seed=options.seed,
            frames=options.frames,
            storage=options.storage,
            raw=options.raw,
            progress=lambda done, _: progress.update(task, completed=done),
        )
    print(f"{options.out}: {options.frames} frames of seed {options.seed}")
    return 0


def _add_plan(commands: Any) -> None:
    parser = _command(commands, "plan", _plan, "solve the co-design problem and show the best cuts")
    _add_bundle(parser)
    parser.add_argument(
        "--mode",
        choices=MODES,
        default="roofline",
        help="roofline and paper: from the peaks of two devices; measured: both halves timed here",
    )
    parser.add_argument("--robot", default="jetson-nano", help="device in config/devices.yaml")
    parser.add_argument("--server", default="rtx-4090", help="device in config/devices.yaml")
    parser.add_argument("--link-bps", type=float, default=10e6, help="uplink rate [bit/s]")
    parser.add_argument("--link-delay-s", type=float, default=0.0, help="uplink delay [s]")
    parser.add_argument(
        "--merge", nargs="+", choices=MERGES, default=[MERGES[0]], help="merges to choose from"
    )
    parser.add_argument("--top", type=int, default=10, help="rows to show")
    _add_objective(parser)
    _add_json(parser)


def _plan(options: argparse.Namespace) -> int:
    from codesign_ros.evaluation.tables import solution_json, solution_table
    from codesign_ros.evaluation.whatif import WhatIf, solve_what_if
    from codesign_ros.runtime.planner import PlannerSettings

    default = PlannerSettings()
    chosen = _codecs(options.codec)
    solution = solve_what_if(
        _open_bundle(options),
        WhatIf(
            mode=options.mode,
            robot=options.robot,
            server=options.server,
            link_bps=options.link_bps,
            link_delay_s=options.link_delay_s,
            merges=tuple(map(Merge, options.merge)),
            objective=parse_objective(options.objective or default.objective.value),
            lambda_1=default.lambda_1 if options.lambda_1 is None else options.lambda_1,
            codecs=tuple(chosen.get("codecs", default.codecs)),
            frame_codecs=tuple(chosen.get("frame_codecs", default.frame_codecs)),
        ),
    )
    _console().print(solution_table(solution, options.top))
    _write_json(options.json, solution_json(solution))
    return 0


def _add_profile(commands: Any) -> None:
    parser = _command(
        commands, "profile", _profile, "FLOPs, sizes and this machine's times at every cut"
    )
    _add_bundle(parser)
    parser.add_argument("--budget-s", type=float, default=3.0, help="time for each half [s]")
    _add_json(parser)


def _profile(options: argparse.Namespace) -> int:
    from codesign_ros.evaluation.tables import profile_json, profile_table
    from codesign_ros.evaluation.whatif import measure_here, profile_network_of

    bundle = _open_bundle(options)
    network = profile_network_of(bundle)
    with Console(stderr=True).status("timing heads and tails"):
        head = measure_here(bundle, "head", options.budget_s)
        tail = measure_here(bundle, "tail", options.budget_s)
    content = profile_json(bundle, network, {"head": head, "tail": tail})
    _console().print(profile_table(content))
    _write_json(options.json, content)
    return 0


def _add_train(commands: Any) -> None:
    parser = _command(commands, "train", _train, "train the mine's classifier and write its bundle")
    parser.add_argument("out", type=Path, help="bundle directory to make")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--frames", type=int, help="training scenes")
    parser.add_argument(
        "--steps", type=int, help="so many optimiser steps, which makes the run repeatable"
    )
    parser.add_argument(
        "--minutes",
        type=float,
        help=f"time for everything, if --steps is not given (default: {_TRAIN_MINUTES:g})",
    )
    parser.add_argument(
        "--measure-frames", type=int, help="scenes that the accuracy is measured on"
    )
    parser.add_argument("--threads", type=int, help="processor cores to use")


def _train(options: argparse.Namespace) -> int:
    from codesign_ros.training.command import TrainOptions, train_bundle

    names = ("seed", "frames", "steps", "minutes", "measure_frames", "threads")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    if "steps" not in given:
        given.setdefault("minutes", _TRAIN_MINUTES)
    train_bundle(options.out, TrainOptions(**given), _console())
    return 0
