"""``model.yaml`` of a bundle: what it states, checked, and the id that follows from it."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import yaml

from codesign_ros.neck_file import parse_necks
from codesign_ros.types.boxes import BOX_FORMS, CORNERS
from codesign_ros.types.errors import CodesignError, one_line
from codesign_ros.types.tensors import InputSpec, TensorSpec

VERSION = 3
"""The newest layout of a bundle that this package reads: that of necks with tails of their own."""

NECK_VERSION = 2
"""The layout of a bundle with ``boxes``, or with necks that all leave the tail as it is."""

PLAIN_VERSION = 1
"""The layout of a bundle with neither necks nor ``boxes``, which older packages read too."""

TASKS = ("classification", "detection", "features")
"""What the network's output means.

Classification: logits, one for each class. Detection: (1, 4 + C, anchors) with the four numbers of
a box in pixels of the network's input, in the form that ``boxes`` says, then the C classes'
probabilities. Features: nothing that this package knows; answers carry no label.
"""

MODEL = "model.yaml"


class BundleError(CodesignError):
    """A bundle that cannot be used; one line says which and why."""


def read_description(path: Path) -> dict[str, Any]:
    """Read ``model.yaml`` as far as its version."""
    try:
        description = yaml.safe_load((path / MODEL).read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BundleError(f"bundle {path}: {MODEL} is not YAML: {one_line(error)}") from error
    version = description.get("version") if isinstance(description, dict) else None
    if type(version) is not int or version < 1:
        raise BundleError(f"bundle {path}: {MODEL} does not state its version")
    if version > VERSION:
        raise BundleError(
            f"bundle {path} has version {version}, this package reads up to {VERSION}: "
            "update codesign_ros"
        )
    return description


def parse_description(description: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of ``Bundle`` that ``model.yaml`` states.

    Raises:
        KeyError: a field is missing.
        TypeError, ValueError, OverflowError: a field is not what it should be.
    """
    if description["task"] not in TASKS:
        raise ValueError(f"task '{description['task']}' is not known ({', '.join(TASKS)})")
    if not isinstance(description["architecture_args"], dict):
        raise TypeError("architecture_args is not a mapping")
    segments = _names(description["segments"], "segments")
    none = description["task"] == "features" and description["classes"] == []
    classes = () if none else _names(description["classes"], "classes")
    input_spec = description["input"]
    mean, std = (tuple(map(float, input_spec[key])) for key in ("mean", "std"))
    if len(mean) != 3 or len(std) != 3 or not all(map(math.isfinite, mean + std)) or min(std) <= 0:
        raise ValueError("mean and std need three numbers each, finite, and std above 0")
    crossings = tuple(
        tuple(
            TensorSpec(str(spec["name"]), tuple(map(int, spec["shape"])), str(spec["dtype"]))
            for spec in cut
        )
        for cut in description["crossings"]
    )
    if len(crossings) != len(segments) + 1:
        raise ValueError(f"{len(segments)} segments need {len(segments) + 1} crossings")
    _check_output(description["task"], classes, crossings[-1])
    return {
        "name": str(description["name"]),
        "task": description["task"],
        "architecture": str(description["architecture"]),
        "architecture_args": description["architecture_args"],
        "classes": classes,
        "input": InputSpec(int(input_spec["height"]), int(input_spec["width"]), mean, std),
        "segments": segments,
        "crossings": crossings,
        "necks": parse_necks(_necks_of(description), crossings),
        "boxes": _boxes_of(description),
    }


def _check_output(task: str, classes: tuple[str, ...], outputs: tuple[TensorSpec, ...]) -> None:
    """Raise ValueError where the network's output is not what the task and the classes need."""
    shapes = ", ".join(str(spec.shape) for spec in outputs)
    expected = {
        "classification": [(1, len(classes))],
        "detection": [(1, 4 + len(classes), spec.shape[-1]) for spec in outputs[:1]],
        "features": [spec.shape for spec in outputs],
    }
    if [spec.shape for spec in outputs] != expected[task]:
        raise ValueError(f"the output {shapes} does not fit {task} of {len(classes)} classes")


def _names(value: Any, key: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(v, str) for v in value):
        raise TypeError(f"{key} is not a list of names")
    return tuple(value)


def _necks_of(description: dict[str, Any]) -> Any:
    """What ``model.yaml`` says of necks; the first layout knows none."""
    return description.get("necks", []) if description["version"] > PLAIN_VERSION else []


def _boxes_of(description: dict[str, Any]) -> str:
    """What ``model.yaml`` says of a detector's boxes; the first layout knows corners alone."""
    form = description.get("boxes", CORNERS) if description["version"] > PLAIN_VERSION else CORNERS
    if form not in BOX_FORMS:
        raise ValueError(f"boxes '{form}' are not known ({', '.join(BOX_FORMS)})")
    return str(form)


def model_id_of(description: dict[str, Any]) -> str:
    """Hash what makes two bundles the same network, 16 hex digits."""
    keys = ("architecture", "architecture_args", "classes", "input", "weights_sha256")
    hashed = {key: description[key] for key in keys}
    if (form := _boxes_of(description)) != CORNERS:
        hashed["boxes"] = form
    if necks := _necks_of(description):
        hashed["necks"] = sorted(necks, key=lambda neck: neck["cut"])
    content = json.dumps(hashed, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def plain(fields: dict[str, Any]) -> dict[str, Any]:
    """Tuples as lists: safe YAML has no tuples."""
    return {key: list(v) if isinstance(v, tuple) else v for key, v in fields.items()}


def as_yaml(document: dict[str, Any]) -> str:
    """Write it down."""
    return yaml.safe_dump(document, sort_keys=False, default_flow_style=None, width=100)
