"""What the networks of the paper's experiments do, counted, for each data set and input size."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from codesign_ros.cost.profile import NetworkProfile, profile_network
from codesign_ros.paper.results.printed import CLASSES, DATA_SETS, TABLE_7_IMAGE
from codesign_ros.types.tensors import InputSpec

SIDES: Mapping[str, tuple[int, int, int]] = {"own": (32, 32, 224), "224": (224, 224, 224)}
"""Input side for each data set [px], by name: its own images (MNIST's 28 padded to 32), or the
224 of the published networks. The paper says neither."""

VARIANTS: Mapping[str, tuple[str, ...]] = {
    "RepVGG": ("A0", "A2", "B1"),
    "Rep-ResNet-50": ("",),
    "Rep-GoogLeNet": ("",),
}
"""Base models and which of each are tried: the paper does not say which RepVGG it has; from the
smallest to one of eight times its work."""

_MAKERS = {"Rep-ResNet-50": "rep_resnet50", "Rep-GoogLeNet": "rep_googlenet"}
_LAST_LAYER = "fc."


class Subject(NamedTuple):
    """One network on one data set: model, variant, number of classes, side [px]."""

    model: str
    variant: str
    classes: int
    side: int

    @classmethod
    def of(cls, model: str, repvgg: str, data_set: int, sides: str) -> Subject:
        """Find what a cell of Table IV runs.

        Args:
            model: one of ``MODELS``.
            repvgg: the variant, where the model is RepVGG.
            data_set: index into ``DATA_SETS``.
            sides: a key of ``SIDES``.
        """
        variant = repvgg if model == "RepVGG" else ""
        return cls(model, variant, CLASSES[data_set], SIDES[sides][data_set])


def subjects() -> list[Subject]:
    """List all that are needed, each once."""
    return sorted(
        {
            Subject.of(model, variant, data_set, sides)
            for model, variants in VARIANTS.items()
            for variant in variants
            for data_set in range(len(DATA_SETS))
            for sides in SIDES
        }
    )


def profile_subjects(progress: Callable[[int, int], None]) -> dict[Subject, NetworkProfile]:
    """Count all of ``subjects``.

    Args:
        progress: is told how many of how many are done.
    """
    wanted = subjects()
    graphs: dict[tuple[str, int], Mapping[str, Any]] = {}
    found = {}
    for done, subject in enumerate(wanted, start=1):
        found[subject] = profile_subject(subject, graphs)
        progress(done, len(wanted))
    return found


def profile_subject(
    subject: Subject, graphs: dict[tuple[str, int], Mapping[str, Any]]
) -> NetworkProfile:
    """Count one.

    Args:
        subject: what to count.
        graphs: networks that were imported before, by model and side; it gets the new ones. The
            number of classes changes the last layer alone, so one import serves all.
    """
    # Here and not above: torch takes seconds to import.
    from codesign_ros.models.graph.importing import import_network
    from codesign_ros.models.graph.segment import graph
    from codesign_ros.models.zoo import rep

    model, variant, classes, side = subject
    input = InputSpec(side, side)
    if variant:
        return profile_network(rep.shapes_of(model, variant, input, classes))
    if (model, side) not in graphs:
        module = getattr(rep, _MAKERS[model])(classes)
        graphs[model, side] = import_network(module, input).architecture_args
    args = graphs[model, side]
    parameters = {
        name: [classes, *shape[1:]] if name.startswith(_LAST_LAYER) else shape
        for name, shape in args["parameters"].items()
    }
    return profile_network(graph(**{**args, "parameters": parameters}, input=input))


def profile_detector(variant: str) -> NetworkProfile:
    """Count the detector of Table VI with a neck and head like YOLOv8's, for Table VII's images.

    Args:
        variant: ``nano`` has neck and head as narrow as Table VI's backbone, ``small`` has all
            twice as wide.
    """
    from codesign_ros.models.zoo.yolo import yolo

    width, height = TABLE_7_IMAGE
    return profile_network(yolo(2, InputSpec(height, width), variant))
