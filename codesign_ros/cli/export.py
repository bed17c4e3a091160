"""``codesign export``: engines built ahead of time."""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codesign_ros.cli.common import MERGES, STRUCTURES, add_backend, add_json, command, open_bundle
from codesign_ros.cli.options.numbers import CUT, Whole
from codesign_ros.console import alive, progress_bar, result_console, write_json
from codesign_ros.resources import resource_path
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import PRECISIONS, Merge, Structure
from codesign_ros.types.links import LinkSpec

if TYPE_CHECKING:
    from codesign_ros.bundle import Bundle
    from codesign_ros.engines.base import EngineKey
    from codesign_ros.engines.factory import EngineFactory
    from codesign_ros.engines.tensorrt.settings import TensorRtSettings
    from codesign_ros.whatif.likely_plans import Served
    from codesign_ros.whatif.problem import WhatIf

    Building = Callable[[EngineKey, float | None, str], None]

_HELP = (
    "Build engines ahead of time, into the cache where nodes find them. TensorRT's engines run on "
    "the kind of GPU and with the version of TensorRT that built them: run this on the robot "
    "(--part head) and on the server (--part tail) themselves; engines for a Jetson are built on "
    "that Jetson. TensorRT for RTX builds on any machine for every RTX GPU."
)


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = command(commands, "export", _run, "build engines ahead of time")
    parser.description = _HELP
    parser.add_argument(
        "bundle", nargs="?", default="", help="model bundle (default: that of the package)"
    )
    add_backend(parser, default="tensorrt")
    parser.add_argument("--part", choices=("head", "tail", "both"), default="both")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--likely",
        action="store_true",
        help="engines of plans that are the best, or within 5 %%, on some link from 0.1 to 1000 "
        "Mbit/s (the default)",
    )
    which.add_argument("--cuts", type=CUT, nargs="+", help="engines at these cuts")
    which.add_argument("--all-plans", action="store_true", help="engines at every cut")
    which.add_argument(
        "--list",
        action="store_true",
        help="show what is there, with the GPU that it is for; needs no library",
    )
    parser.add_argument(
        "--into-bundle",
        action="store_true",
        help="export the networks themselves (ONNX) into the bundle's folder onnx, for machines "
        "without PyTorch; its backend is onnxruntime (default: all plans, those with necks too)",
    )
    choice = "(default: what the planner chooses from by default)"
    parser.add_argument("--structure", nargs="+", choices=STRUCTURES, help=f"structures {choice}")
    parser.add_argument("--merge", nargs="+", choices=MERGES, help=f"merges {choice}")
    parser.add_argument(
        "--precision",
        nargs="+",
        choices=PRECISIONS,
        help="precisions, as in the nodes' parameter of that name (default: fp32)",
    )
    likely = parser.add_argument_group("for --likely")
    likely.add_argument("--robot", default="jetson-nano", help="device in config/devices.yaml")
    likely.add_argument("--server", default="rtx-4090", help="likewise")
    likely.add_argument("--devices", help="another devices.yaml")
    likely.add_argument(
        "--robot-profile", help="file of 'codesign profile --out', in place of the roofline"
    )
    likely.add_argument("--server-profile", help="likewise; both or none")
    tensorrt = parser.add_argument_group("for backend tensorrt, as the nodes' parameters")
    tensorrt.add_argument(
        "--max-batch", type=Whole(1, 1024), help="most frames of one run (default: 1)"
    )
    tensorrt.add_argument("--dla-core", type=Whole(0, 15), help="DLA core for fp16 (default: none)")
    tensorrt.add_argument(
        "--workspace-mib",
        type=Whole(1, 2**24),
        help="most memory for a layer's work (default: any) [MiB]",
    )
    tensorrt.add_argument("--gpu", type=Whole(0, 255), help="index of the GPU (default: 0)")
    add_json(parser)


def _run(options: argparse.Namespace) -> int:
    from codesign_ros.whatif.exporting import (
        Outcome,
        distinct,
        engines_there,
        export_engines,
        export_table,
    )

    bundle = open_bundle(options)
    if options.into_bundle:
        options.backend = "onnxruntime"
        _check_place(bundle)
    settings = _settings(options)
    interrupted = False
    served: Mapping[EngineKey, Served] = {}
    if options.list:
        exported = engines_there(bundle, options.backend, settings)
    else:
        with contextlib.closing(_factory(options, bundle, settings)) as factory:
            wanted, served = _wanted(options, bundle)
            keys = distinct(factory, wanted)
            exported = []
            with contextlib.suppress(KeyboardInterrupt), _display(len(keys)) as (building, done):
                for each in export_engines(factory, keys, building):
                    exported.append(each)
                    done()
            interrupted = len(exported) < len(keys)
    table = export_table(bundle, options.backend, exported, served)
    refused = sum(each.outcome is Outcome.REFUSED for each in exported)
    if interrupted:
        print(f"interrupted: {len(exported)} of {len(keys)} engines are done", file=sys.stderr)
    write_json(
        options.json,
        {
            "bundle": bundle.name,
            "model_id": bundle.model_id,
            "backend": options.backend,
            "interrupted": interrupted,
            "engines": [each.to_json(served.get(each.key)) for each in exported],
        },
    )
    result_console().print(table)
    return 130 if interrupted else min(refused, 1)


def _settings(options: argparse.Namespace) -> TensorRtSettings | None:
    """What is asked of TensorRT; None = nothing."""
    from codesign_ros.engines.tensorrt.settings import TensorRtSettings

    mib = options.workspace_mib
    asked = {
        "max_batch": options.max_batch,
        "dla_core": options.dla_core,
        "workspace_bytes": None if mib is None else mib * 2**20,
        "gpu": options.gpu,
    }
    asked = {name: value for name, value in asked.items() if value is not None}
    if asked and options.backend != "tensorrt":
        names = ", ".join(f"--{name.replace('_', '-')}" for name in asked)
        raise CodesignError(f"{names}: for backend tensorrt, not for {options.backend}")
    return TensorRtSettings(**asked) if asked else None


def _factory(
    options: argparse.Namespace, bundle: Bundle, settings: TensorRtSettings | None
) -> EngineFactory:
    from codesign_ros.engines.factory import open_backend

    place = bundle.exported if options.into_bundle else None
    factory = open_backend(bundle, options.backend, place, settings=settings)
    if not factory.keeps_files:
        factory.close()
        raise CodesignError(
            f"backend {factory.backend} keeps no engines: there is nothing to export"
        )
    return factory


def _check_place(bundle: Bundle) -> None:
    try:
        bundle.exported.mkdir(exist_ok=True)
        with tempfile.TemporaryFile(dir=bundle.exported):
            pass
    except OSError as error:
        raise CodesignError(
            f"cannot write {bundle.exported}: {error.strerror}; export into a copy of the bundle"
        ) from error


def _wanted(
    options: argparse.Namespace, bundle: Bundle
) -> tuple[list[EngineKey], Mapping[EngineKey, Served]]:
    """The engines to build, and what they are good for where that was worked out."""
    from codesign_ros.runtime.planner.settings import PlannerSettings
    from codesign_ros.whatif.device_times import PARTS
    from codesign_ros.whatif.exporting import halves, whole_networks
    from codesign_ros.whatif.likely_plans import likely_engines

    default = PlannerSettings()
    choice = (
        tuple(map(Structure, options.structure or default.structures)),
        tuple(map(Merge, options.merge or default.merges)),
        tuple(options.precision or default.precisions),
    )
    parts = PARTS if options.part == "both" else (options.part,)
    last = bundle.last_cut
    if options.cuts or options.all_plans or options.into_bundle:
        cuts = options.cuts or range(last + 1)
        necks = [neck.cut for neck in bundle.necks if neck.cut in cuts]
        return halves(parts, cuts, *choice, last, necks), {}
    what_if = _what_if(options, bundle, choice)
    with alive("solving for the likely engines"):
        served = likely_engines(bundle, what_if)
    # Devices that start run the whole network, and time it in each precision, whatever the link.
    whole = whole_networks(parts, choice[2], last)
    return [*whole, *(key for key in served if key.part in parts)], served


def _what_if(options: argparse.Namespace, bundle: Bundle, choice: Any) -> WhatIf:
    from codesign_ros.cost.catalogue import find_device, load_devices
    from codesign_ros.runtime.planner.settings import PlannerSettings
    from codesign_ros.whatif.device_times import read_device_times
    from codesign_ros.whatif.problem import WhatIf

    devices = load_devices(Path(options.devices or resource_path("config") / "devices.yaml"))
    files = (options.robot_profile, options.server_profile)
    if None in files and any(files):
        raise CodesignError("give both --robot-profile and --server-profile, or none of them")
    times = [read_device_times(Path(file), bundle)[1] for file in files if file]
    default = PlannerSettings()
    structures, merges, precisions = choice
    return WhatIf(
        mode="measured" if times else "roofline",
        robot=find_device(devices, options.robot),
        servers=(find_device(devices, options.server),),
        links=(LinkSpec(default.link_bps),),
        structures=structures,
        merges=merges,
        precisions=precisions,
        codecs=default.codecs,
        frame_codecs=default.frame_codecs,
        lambda_1=default.lambda_1,
        profiles={"head": times[0]["head"], "tail": times[1]["tail"]} if times else {},
    )


@contextlib.contextmanager
def _display(engines: int) -> Iterator[tuple[Building, Callable[[], None]]]:
    """Show all engines and the one under way; yields what tells of it and what ends it."""
    with progress_bar() as bars:
        everything = bars.add_task("engines", total=engines)
        one = bars.add_task("", visible=False)

        def building(key: EngineKey, fraction: float | None, text: str) -> None:
            what = f"{key.part} {key.cut} {key.structure.value} {key.precision}: {text}"
            percent = None if fraction is None else round(100 * fraction)
            bars.update(
                one,
                description=what,
                completed=percent or 0,
                total=None if percent is None else 100,
                visible=True,
            )

        def done() -> None:
            bars.advance(everything)
            bars.reset(one, visible=False)

        yield building, done
