"""``codesign split-train``: head and tail learn from scenes of the mine, as two processes.

The scenes are drawn beforehand. The head reads the pictures, the tail is given what is in them.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from codesign_ros.bundle import Bundle
from codesign_ros.console import progress_bar
from codesign_ros.mine.render import CLASSES
from codesign_ros.mine.tunnel import HEIGHT, WIDTH
from codesign_ros.models.network import Network, Segment
from codesign_ros.models.zoo import build
from codesign_ros.models.zoo.yolo import BOXES, RAW
from codesign_ros.training.detector.data import MINE_BOXES
from codesign_ros.training.scenes import render_scenes
from codesign_ros.training.split.job import Trained, differences
from codesign_ros.training.split.process import train_split
from codesign_ros.training.split.scenes import scene_job
from codesign_ros.training.split.training import gradient_specs, train_whole
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.tensors import InputSpec, TensorSpec

ARCHITECTURES = ("mine_repvgg", "yolo")

ROUNDING = 1e-6
"""Differences up to here are of rounding. None are expected where halves and whole run with equally
many threads on one machine: the same sums are then done in the same order."""

_REG_MAX = 12


@dataclass(frozen=True)
class SplitOptions:
    """What ``codesign split-train`` takes.

    Attributes:
        bundle: whose network and weights, or None.
        architecture: one of ``ARCHITECTURES`` with random weights, where there is no bundle.
        cut: where it is cut.
        steps: batches.
        batch: frames in a batch.
        frames: scenes to draw; the batches go through them again and again.
        height: of the input of an architecture without a bundle [px].
        width: likewise.
        learning_rate: of stochastic gradient descent with momentum 0.9.
        seed: of scenes, their order and random weights.
        check: train the whole network too, and compare.
        threads: processor cores of each side, and of the whole.
        timeout_s: how long a side waits for the other [s].
    """

    bundle: Path | None
    architecture: str
    cut: int
    steps: int = 10
    batch: int = 4
    frames: int = 32
    height: int = HEIGHT
    width: int = WIDTH
    learning_rate: float = 0.01
    seed: int = 1
    check: bool = False
    threads: int = 1
    timeout_s: float = 60.0

    def validate(self) -> None:
        """Raise CodesignError with one line on a value that makes no sense."""
        for name in ("steps", "batch", "frames", "threads"):
            if getattr(self, name) < 1:
                raise CodesignError(f"{name} must be at least 1, not {getattr(self, name)}")
        if min(self.height, self.width) < 32:
            raise CodesignError(
                f"an input of {self.height} x {self.width} pixels is too small: 32 at least"
            )
        for name in ("learning_rate", "timeout_s"):
            if not 0 < getattr(self, name) < float("inf"):
                raise CodesignError(f"{name} must be above 0, not {getattr(self, name)}")
        if self.seed < 0:
            raise CodesignError(f"the seed must be 0 or more, not {self.seed}")


def run_split_training(options: SplitOptions, console: Console) -> dict[str, Any]:
    """Train in two processes, print how it went, and compare with the whole if that is asked.

    Returns:
        What ``--json`` writes; ``equal`` is None without ``check``.

    Raises:
        CodesignError: an option makes no sense, the bundle is for other classes than the mine's, or
            training fails.
    """
    options.validate()
    torch.set_num_threads(options.threads)
    make_network, task, classes = _source(options)
    crossing = make_network().crossing(options.cut)  # says so before scenes are drawn, if not
    with (
        tempfile.TemporaryDirectory(prefix="codesign_scenes_") as folder,
        progress_bar(console) as progress,
    ):
        file = Path(folder) / "scenes"
        drawing = progress.add_task(f"scenes of seed {options.seed}", total=options.frames)
        scenes = render_scenes(
            file,
            options.seed,
            options.frames,
            processes=1,
            on_rendered=lambda count: progress.advance(drawing, count),
        )
        job = scene_job(
            file,
            scenes,
            make_network=make_network,
            task=task,
            classes=classes,
            cut=options.cut,
            steps=options.steps,
            batch=options.batch,
            learning_rate=options.learning_rate,
            seed=options.seed,
        )
        training = progress.add_task("head and tail", total=options.steps)
        split = train_split(
            job,
            record=options.check,
            timeout_s=options.timeout_s,
            threads=options.threads,
            on_step=lambda step: progress.update(training, completed=step.step),
        )
        gaps = None
        if options.check:
            checking = progress.add_task("whole network", total=options.steps)
            whole = train_whole(
                job,
                record=True,
                on_step=lambda step: progress.update(checking, completed=step.step),
            )
            gaps = differences(split, whole)
    document = _document(options, crossing, split, gaps)
    _print(document, console)
    return document


def _source(options: SplitOptions) -> tuple[partial[Network], str, tuple[str, ...]]:
    """Return what makes the network, its task and its classes."""
    if options.bundle is not None:
        bundle = Bundle.open(options.bundle)
        known = {"classification": CLASSES, "detection": MINE_BOXES, "features": ()}[bundle.task]
        foreign = sorted(set(bundle.classes) - set(known))
        if foreign and bundle.task != "features":
            raise CodesignError(
                f"bundle {bundle.path} has class {foreign[0]!r}; scenes of the mine have "
                f"{', '.join(known)}"
            )
        return partial(_from_bundle, options.bundle), bundle.task, bundle.classes
    spec = InputSpec(options.height, options.width)
    if options.architecture == "yolo":
        args: dict[str, Any] = {"classes": len(MINE_BOXES), "reg_max": _REG_MAX}
        return partial(_untrained, "yolo", args, spec, options.seed), "detection", MINE_BOXES
    args = {"classes": len(CLASSES)}
    make = partial(_untrained, options.architecture, args, spec, options.seed)
    return make, "classification", CLASSES


def _untrained(architecture: str, args: dict[str, Any], spec: InputSpec, seed: int) -> Network:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _trainable(build(architecture, args, spec))


def _from_bundle(path: Path) -> Network:
    return _trainable(Bundle.open(path).network())


def _trainable(network: Network) -> Network:
    """Leave out a detector's last segment: it learns from what its head says, not from boxes."""
    names = network.segment_names
    if names[-2:] != (RAW, BOXES):
        return network
    parts = zip(names, network.segments, network.segment_inputs, strict=True)
    return Network([Segment(*part) for part in parts][:-1], network.input_spec)


def _document(
    options: SplitOptions,
    crossing: tuple[TensorSpec, ...],
    split: Trained,
    gaps: dict[str, float] | None,
) -> dict[str, Any]:
    returning = {spec.name for spec in gradient_specs(crossing)}
    steps = split.steps
    return {
        "network": str(options.bundle or options.architecture),
        "cut": options.cut,
        "steps": options.steps,
        "batch": options.batch,
        "crossing": [
            {
                "name": spec.name,
                "shape": [options.batch, *spec.shape[1:]],
                "gradient_comes_back": spec.name in returning,
            }
            for spec in crossing
        ],
        "activation_bytes_per_step": steps[-1].activation_bytes,
        "gradient_bytes_per_step": steps[-1].gradient_bytes,
        "loss": [step.loss for step in steps],
        "step_s": float(np.median([step.step_s for step in steps])),
        "differences": gaps,
        "equal": None if gaps is None else max(gaps.values()) <= ROUNDING,
    }


def _print(document: dict[str, Any], console: Console) -> None:
    table = Table("tensor", "shape", "back", title=f"What crosses cut {document['cut']}")
    for tensor in document["crossing"]:
        shape = " x ".join(map(str, tensor["shape"]))
        table.add_row(tensor["name"], shape, "yes" if tensor["gradient_comes_back"] else "no")
    console.print(table)
    losses = document["loss"]
    console.print(
        f"each step: {document['activation_bytes_per_step']:,} bytes of activations, "
        f"{document['gradient_bytes_per_step']:,} of gradients, {document['step_s']:.3f} s; "
        f"loss {losses[0]:.4g} -> {losses[-1]:.4g} in {document['steps']} steps"
    )
    if document["differences"] is not None:
        gaps = ", ".join(f"{name} {gap:.1e}" for name, gap in document["differences"].items())
        verdict = "[green]equal[/]" if document["equal"] else "[red]not equal[/]"
        console.print(f"against the whole network in one process: {verdict}; largest gap: {gaps}")
