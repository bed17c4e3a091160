"""``codesign import``: a bundle from any network that torch can trace."""

from __future__ import annotations

import argparse
import itertools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from rich.table import Column

from codesign_ros.cli.common import add_json, add_topic, command
from codesign_ros.cli.interrupts import lasting_interrupts
from codesign_ros.cli.options.classes import class_names
from codesign_ros.cli.options.numbers import SHARE, Real, image_size
from codesign_ros.cli.options.places import NEW_BUNDLE_FOLDER
from codesign_ros.console import alive, right, show, slim_table
from codesign_ros.types.boxes import BOX_FORMS, CORNERS
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.tensors import InputSpec, TensorSpec

if TYPE_CHECKING:
    import numpy as np

    from codesign_ros.bundle import Bundle
    from codesign_ros.data.frames import FrameSource
    from codesign_ros.models.graph.detector_output import DetectorOutput

_TASKS = ("classification", "detection", "features")
_CALIBRATION_FRAMES = 16
_LOOKED_AT = 4
_MINE = "mine"


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = command(
        commands, "import", _run, "make a bundle from a network of torchvision, timm or your own"
    )
    parser.add_argument(
        "network",
        help="torchvision:NAME, timm:NAME, path/to/file.py:NAME or package.module:NAME, where NAME "
        "is a class, function or module; its code is run",
    )
    parser.add_argument(
        "--out", type=NEW_BUNDLE_FOLDER, required=True, help="bundle directory to make"
    )
    parser.add_argument(
        "--args", nargs="+", default=[], metavar="KEY=VALUE", help="arguments for the network"
    )
    weights = parser.add_mutually_exclusive_group()
    weights.add_argument(
        "--weights", type=Path, help="safetensors, or a state_dict of torch.save (default: random)"
    )
    weights.add_argument(
        "--pretrained", action="store_true", help="download what torchvision or timm has for it"
    )
    parser.add_argument(
        "--input", type=image_size, default=(224, 224), metavar="HxW", help="default: 224x224"
    )
    for name, kind, values, text in (
        (
            "mean",
            SHARE,
            (0.485, 0.456, 0.406),
            "of each channel of the training images, 0 to 1",
        ),
        ("std", Real(0.0, 1.0, open=True), (0.229, 0.224, 0.225), "their standard deviation"),
    ):
        parser.add_argument(
            f"--{name}", type=kind, nargs=3, default=values, help=f"{text} (default: ImageNet's)"
        )
    parser.add_argument(
        "--task",
        choices=_TASKS,
        help="what the output means: logits (1, C); boxes and probabilities (1, 4 + C, anchors), "
        "(1, anchors, 4 + C) or (1, rows, 6) with corners, score and class, as YOLOv8 to 11 give; "
        "or nothing known (default: classification for one output of two axes, else features)",
    )
    parser.add_argument(
        "--boxes",
        choices=BOX_FORMS,
        help="what the numbers of a detector's box are, in pixels of the input: corners (x_min, "
        "y_min, x_max, y_max), or centre (x, y, width, height) as YOLO's exports have (default: "
        "as they look on the calibration images)",
    )
    parser.add_argument(
        "--classes",
        help="names, as in person,helmet; a file with a name in each line; or a number (default: "
        "numbers)",
    )
    parser.add_argument(
        "--calibration",
        default=_MINE,
        metavar="SOURCE",
        help="images like those that it will see: folder, bag or video (default: synthetic mine)",
    )
    add_topic(parser)
    add_json(parser)


def _run(options: argparse.Namespace) -> int:
    from codesign_ros.models.graph.network_name import split_name

    height, width = options.input
    spec = InputSpec(height, width, tuple(options.mean), tuple(options.std))
    arguments = _arguments(options.args)
    names = class_names(options.classes)
    source = _calibration_source(options.calibration, options.topic)
    if options.weights is not None and not options.weights.is_file():
        raise CodesignError(f"there is no file of weights at {options.weights}")
    split_name(options.network, pretrained=options.pretrained)
    if options.boxes is not None and options.task != "detection":
        raise CodesignError("--boxes is of a detector: say --task detection")
    notes: list[str] = []
    boxes = CORNERS
    trained = options.pretrained or options.weights is not None
    with lasting_interrupts(), alive(options.network) as tell:

        def progress(text: str) -> None:
            tell(f"{options.network}: {text}")

        from codesign_ros.bundle import write_bundle
        from codesign_ros.cost.accuracy import AccuracyTable
        from codesign_ros.models.graph.importing import ARCHITECTURE, import_network
        from codesign_ros.models.graph.module_spec import make_module
        from codesign_ros.models.graph.module_weights import check_finite, load_module_weights

        progress("making the module")
        module = make_module(options.network, arguments, pretrained=options.pretrained)
        if options.weights is not None:
            progress(f"reading {options.weights}")
            notes += load_module_weights(module, options.weights)
        check_finite(module)
        progress("reading frames for calibration")
        frames = _calibration_frames(source, options.calibration, spec)
        if options.task == "detection":
            progress("looking at its boxes")
            found = _detections(module, frames, spec, names, options.boxes, trained=trained)
            module, boxes = found.applied(module), found.boxes
            notes += found.notes
        network, graph = import_network(module, spec, progress)
        outputs = network.crossing(len(network.segment_names))
        task = options.task or _task_of(outputs)
        classes = _classes(names, options.classes, task, outputs)
        if task == "features" and [len(each.shape) for each in outputs] == [3]:
            notes.append("with --task detection its output is read as boxes")
        progress(f"writing {options.out}")
        bundle = write_bundle(
            options.out,
            network,
            name=options.network.rpartition(":")[2],
            architecture=ARCHITECTURE,
            architecture_args=graph,
            classes=classes,
            accuracy=AccuracyTable("none", 0.0, "nothing was measured", ()),
            calibration_frames=frames,
            task=task,
            boxes=boxes,
        )
        progress("counting operations")
        content = _content(bundle)
        content["notes"] = notes
    _show(content, options.json, has_weights=trained)
    return 0


def _arguments(pairs: list[str]) -> dict[str, Any]:
    """Read ``KEY=VALUE``; numbers, booleans and lists as YAML has them."""
    arguments = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key.isidentifier():
            raise CodesignError(f"--args takes KEY=VALUE, not {pair!r}")
        try:
            arguments[key] = yaml.safe_load(value)
        except (ValueError, RecursionError, yaml.YAMLError):  # ValueError: of a date
            raise CodesignError(f"--args {pair!r}: the value cannot be read") from None
    return arguments


def _task_of(outputs: tuple[TensorSpec, ...]) -> str:
    return "classification" if [len(spec.shape) for spec in outputs] == [2] else "features"


def _detections(
    module: Any,
    frames: np.ndarray,
    spec: InputSpec,
    names: tuple[str, ...] | None,
    boxes: str | None,
    *,
    trained: bool,
) -> DetectorOutput:
    import numpy as np

    from codesign_ros.models.graph.detector_output import recognise
    from codesign_ros.pixels.letterbox import normalise

    images = np.concatenate([normalise(frame, spec) for frame in frames[:_LOOKED_AT]])
    count = None if names is None else len(names)
    return recognise(module, images, count, boxes, trained=trained)


def _classes(
    names: tuple[str, ...] | None, named: str | None, task: str, outputs: tuple[TensorSpec, ...]
) -> tuple[str, ...]:
    """Names of the classes, as many as the output has for this task."""
    if task == "features":
        return ()
    shape = outputs[0].shape
    if len(outputs) != 1 or len(shape) != (2 if task == "classification" else 3):
        shapes = ", ".join(str(spec.shape) for spec in outputs)
        wanted = "(1, C)" if task == "classification" else "(1, 4 + C, anchors)"
        raise CodesignError(f"{task} needs one output {wanted}, the network has {shapes}")
    count = shape[1] - (0 if task == "classification" else 4)
    if names is None:
        names = tuple(f"class {i}" for i in range(count))
    if len(names) != count or len(set(names)) != len(names):
        raise CodesignError(
            f"--classes {named} gives {len(set(names))} classes, the network's output {shape} has "
            f"{count}"
        )
    return names


def _calibration_source(name: str, topic: str) -> FrameSource | None:
    """Open the source; None = the mine's independent scenes."""
    from codesign_ros.data.chosen import warnings_of
    from codesign_ros.data.sources import open_source

    if name == _MINE:
        if topic:
            raise CodesignError(f"--topic {topic} is of a bag: name one with --calibration")
        return None
    source = open_source(name, topic=topic or None)
    for line in warnings_of(source):
        print(f"warning: {line}", file=sys.stderr)
    return source


def _calibration_frames(source: FrameSource | None, name: str, spec: InputSpec) -> np.ndarray:
    import numpy as np

    from codesign_ros.data.chosen import decoded, told_once
    from codesign_ros.mine.generator import MineGenerator
    from codesign_ros.pixels.letterbox import letterbox

    if source is None:
        mine = MineGenerator(0)
        pictures = [mine.frame(i).image[:, :, ::-1].copy() for i in range(_CALIBRATION_FRAMES)]
    else:
        # From all of it, since neighbours in a film are much alike.
        step = max(1, (source.frames or 0) // _CALIBRATION_FRAMES)
        chosen = itertools.islice(enumerate(source), 0, step * _CALIBRATION_FRAMES, step)
        pictures, broken = decoded(chosen)
        if broken:
            print(f"warning: {told_once(broken)}", file=sys.stderr)
    if not pictures:
        raise CodesignError(f"source {name} has no frames to calibrate with")
    return np.stack([letterbox(picture, spec) for picture in pictures])


def _content(bundle: Bundle) -> dict[str, Any]:
    """What is shown, as plain values; the operations are None where an operation's are unknown."""
    from codesign_ros.cost.profile import profile_network
    from codesign_ros.types.forms import Structure

    note, last = "", bundle.last_cut
    flops: list[int | None] = [None] * (last + 1)
    try:
        profile = profile_network(bundle.network())
        flops = [profile.flops(0, cut, Structure.S3) for cut in range(last + 1)]
    except CodesignError as error:
        note = f"operations are not known: {error}"
    cuts = [
        {
            "cut": cut,
            "after": bundle.segments[cut - 1] if cut else "the frame",
            "crossing": [
                {"name": s.name, "shape": list(s.shape), "dtype": s.dtype, "bytes": s.nbytes}
                for s in crossing
            ],
            "bytes": sum(spec.nbytes for spec in crossing),
            "flops_before": flops[cut],
        }
        for cut, crossing in enumerate(bundle.crossings)
    ]
    return {
        "bundle": str(bundle.path),
        "model_id": bundle.model_id,
        "task": bundle.task,
        "classes": len(bundle.classes),
        "boxes": bundle.boxes if bundle.task == "detection" else None,
        "note": note,
        "cuts": cuts,
    }


def _show(content: dict[str, Any], json_path: Path | None, *, has_weights: bool) -> None:
    table = slim_table(
        f"{content['bundle']}: {len(content['cuts'])} cuts, task {content['task']}",
        *right("cut"),
        *(Column(name, overflow="fold") for name in ("after", "what crosses")),
        *right("kB", "MFLOP before"),
    )
    for row in content["cuts"]:
        flops = row["flops_before"]
        table.add_row(
            str(row["cut"]),
            row["after"],
            "\n".join(f"{t['name']} {'x'.join(map(str, t['shape']))}" for t in row["crossing"]),
            f"{row['bytes'] / 1e3:.1f}",
            "?" if flops is None else f"{flops / 1e6:.1f}",
        )
    notes = [*content["notes"], *([content["note"]] if content["note"] else [])]
    if not has_weights:
        notes.append("the weights are random: give --weights or --pretrained")
    notes.append("its accuracy was not measured; `codesign accuracy` does, from labelled frames")
    show([table], notes, json_path, content)
