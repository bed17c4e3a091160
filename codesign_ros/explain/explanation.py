"""All that is shown of one picture: answers, class activation and feature maps, in numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from codesign_ros.bundle import Bundle
from codesign_ros.explain.asked import check_asked
from codesign_ros.explain.class_activation import (
    ClassActivation,
    class_activation,
    map_cuts,
    on_frame,
    share_inside,
)
from codesign_ros.explain.feature_maps import FeatureMaps, best_block, feature_maps
from codesign_ros.explain.neck_views import NeckView, neck_views
from codesign_ros.explain.scene import Picture
from codesign_ros.explain.structures import AS_IT_IS, Variant, networks_to_compare
from codesign_ros.models.network import Network
from codesign_ros.pixels.boxes import DISPLAY_THRESHOLD, decode_detections, to_frame
from codesign_ros.pixels.letterbox import Letterbox, letterbox, normalise
from codesign_ros.types.boxes import Box
from codesign_ros.types.errors import CodesignError

_CLASSES_SAID = 5


@dataclass(frozen=True)
class VariantAnswer:
    """What one structure of the network says of the picture.

    Attributes:
        variant: the structure.
        scores: probability of each class; of a detector the highest of all anchors.
        boxes: a detector's boxes in pixels of the picture, surest first.
    """

    variant: Variant
    scores: tuple[float, ...]
    boxes: tuple[Box, ...]


@dataclass(frozen=True, eq=False)
class Explanation:
    """What is drawn and written of one picture.

    Attributes:
        scene: the picture.
        bundle: the network.
        placement: where the picture lies in the network's input.
        answers: one for each structure; empty for a network whose output has no known meaning.
        label: the class that the activation maps explain; None where there are none.
        activation_segment: the cut after this segment is where they look; None likewise.
        activations: one for each of ``answers``, or empty.
        maps_segment: the segment whose feature maps are shown; None where none makes a map.
        feature_maps: one for each structure of that segment.
        notes: what was left out or chosen differently, a line each.
        necks: the ways to the tail at the cuts that have a neck, and what the network then says;
            None where its output has no known meaning.
    """

    scene: Picture
    bundle: Bundle
    placement: Letterbox
    answers: tuple[VariantAnswer, ...]
    label: str | None
    activation_segment: str | None
    activations: tuple[ClassActivation, ...]
    maps_segment: str | None
    feature_maps: tuple[FeatureMaps, ...]
    notes: tuple[str, ...]
    necks: tuple[tuple[NeckView, VariantAnswer | None], ...] = ()

    @property
    def is_detection(self) -> bool:
        """Whether the network finds boxes."""
        return self.bundle.task == "detection"

    def said(self, answer: VariantAnswer) -> str:
        """Put an answer into words: how many boxes of each label, or the likeliest classes."""
        if self.is_detection:
            return counted(answer.boxes)
        pairs = zip(self.bundle.classes, answer.scores, strict=True)
        ranked = sorted(pairs, key=lambda pair: -pair[1])[:_CLASSES_SAID]
        return ", ".join(f"{name} {score:.2f}" for name, score in ranked)

    def heat_inside(self, activation: ClassActivation) -> dict[str, dict[str, Any]]:
        """Compare a map with boxes: the true ones, and those that the first answer found.

        Returns:
            For ``truth`` and ``detections``, where there are any, and each label: ``heat``, the
            share of the heat that lies in boxes of this label (None: there is no heat), and
            ``area``, the share of the picture that they cover.
        """
        sets = {
            "truth": self.scene.truth.boxes if self.scene.truth else (),
            "detections": self.answers[0].boxes,
        }
        even = np.ones_like(activation.heat)
        result: dict[str, dict[str, Any]] = {}
        for name, boxes in sets.items():
            for label in sorted({box.label for box in boxes}):
                chosen = [box for box in boxes if box.label == label]
                result.setdefault(name, {})[label] = {
                    "heat": share_inside(activation.heat, self.placement, chosen),
                    "area": share_inside(even, self.placement, chosen),
                }
        return result

    def to_json(self) -> dict[str, Any]:
        """Return all numbers, for ``json.dumps``."""
        height, width = self.scene.image.shape[:2]
        truth = self.scene.truth
        return {
            "image": self.scene.name,
            "height": height,
            "width": width,
            "bundle": str(self.bundle.path),
            "model_id": self.bundle.model_id,
            "task": self.bundle.task,
            "truth": asdict(truth) if truth else None,
            "answers": [
                {
                    **_variant_json(answer.variant),
                    "scores": dict(zip(self.bundle.classes, answer.scores, strict=True)),
                    "boxes": [asdict(box) for box in answer.boxes],
                }
                for answer in self.answers
            ],
            "class": self.label,
            "activation_segment": self.activation_segment,
            "class_activation": [
                {
                    **_variant_json(answer.variant),
                    "score": activation.score,
                    "heat": float(activation.heat.sum()),
                    "peak": self._peak(activation),
                    "inside": self.heat_inside(activation),
                }
                for answer, activation in zip(self.answers, self.activations, strict=False)
            ],
            "maps_segment": self.maps_segment,
            "feature_maps": [
                {
                    **_variant_json(each.variant),
                    "channels": len(each.maps),
                    "variance": float(each.variance.mean()),
                    "detail": each.detail,
                }
                for each in self.feature_maps
            ],
            "necks": [
                {
                    "cut": view.cut,
                    "codec": view.codec,
                    "payload_bytes": view.payload_bytes,
                    "error": view.error,
                    "scores": dict(zip(self.bundle.classes, answer.scores, strict=True))
                    if answer
                    else {},
                    "boxes": [asdict(box) for box in answer.boxes] if answer else [],
                }
                for view, answer in self.necks
            ],
            "notes": list(self.notes),
        }

    def _peak(self, activation: ClassActivation) -> list[int] | None:
        """Where in the picture the heat is highest, x and y [px]; None where there is none."""
        heat = on_frame(activation.heat, self.placement, *self.scene.image.shape[:2])
        if not heat.any():
            return None
        y, x = np.unravel_index(int(heat.argmax()), heat.shape)
        return [int(x), int(y)]


def counted(boxes: Sequence[Box]) -> str:
    """Say how many boxes there are of each label."""
    labels = [box.label for box in boxes]
    return ", ".join(f"{labels.count(n)} {n}" for n in sorted(set(labels))) or "no boxes"


def explain(
    scene: Picture, bundle: Bundle, *, label: str | None = None, segment: str | None = None
) -> Explanation:
    """Run a network's structures on a picture and look inside.

    Args:
        scene: the picture.
        bundle: the network.
        label: class to explain; by default what the network answers, of a detector the label of
            its surest box, or its first class if it finds none.
        segment: where to look; by default the last segment that makes maps for the class
            activation, and the finest block for the feature maps.

    Raises:
        CodesignError: class or segment is not known or makes no map, or the network's output is
            not finite.
    """
    check_asked(bundle, label, segment)
    trained = bundle.network()
    height, width = scene.image.shape[:2]
    image = normalise(letterbox(scene.image, bundle.input), bundle.input)
    networks = networks_to_compare(trained)
    notes: list[str] = []
    if len(networks) == 1:
        notes.append(
            f"{bundle.name} has no re-parameterisable block: one structure, nothing to compare"
        )

    # Of the segments after which maps alone cross.
    names = [trained.segment_names[cut - 1] for cut in map_cuts(trained)]
    if segment is not None and segment not in names:
        raise CodesignError(
            f"what crosses after segment '{segment}' is not maps alone, so it cannot be drawn; "
            f"choose from {', '.join(names) or 'none: this network has no such cut'}"
        )
    answers: tuple[VariantAnswer, ...] = ()
    activations: tuple[ClassActivation, ...] = ()
    looked_at = segment or (names[-1] if names else None)
    if bundle.task == "features":
        notes.append(f"{bundle.name} has no classes: no answers and no class activation")
        looked_at = None
    else:
        answers = tuple(
            _answer(variant, _run(network, image), bundle, height, width)
            for variant, network in networks
        )
        label = label or _label_of(answers[0], bundle)
    if looked_at is not None and label is not None:
        activations = tuple(
            class_activation(
                network,
                image,
                cut=bundle.segments.index(looked_at) + 1,
                class_index=bundle.classes.index(label),
                detection=bundle.task == "detection",
            )
            for _, network in networks
        )
    elif answers:
        notes.append(f"{bundle.name} has no cut where maps alone cross: no class activation")

    shown = segment or best_block(trained) or (names[-1] if names else None)
    if shown is None:
        notes.append(f"no segment of {bundle.name} makes maps: no feature maps")
    maps = tuple(feature_maps(trained, image, shown)) if shown else ()
    if len(networks) > 1 and len(maps) == 1:
        notes.append(f"segment {shown} has no re-parameterisable block: one structure of it")
    return Explanation(
        scene=scene,
        bundle=bundle,
        placement=Letterbox.of(height, width, bundle.input),
        answers=answers,
        label=label if activations else None,
        activation_segment=looked_at if activations else None,
        activations=activations,
        maps_segment=shown,
        feature_maps=maps,
        notes=tuple(notes),
        necks=tuple(
            (
                view,
                _answer(AS_IT_IS, view.output, bundle, height, width) if answers else None,
            )
            for view in neck_views(bundle, trained, image)
        ),
    )


def _run(network: Network, image: np.ndarray) -> np.ndarray:
    """Return the network's only output."""
    with torch.no_grad():
        return network(torch.from_numpy(image)).numpy()


def _answer(
    variant: Variant, output: np.ndarray, bundle: Bundle, height: int, width: int
) -> VariantAnswer:
    """Read an output.

    Raises:
        CodesignError: it is not finite.
    """
    if not np.isfinite(output).all():
        raise CodesignError(f"the output of {variant.name} is not finite: the weights are damaged")
    if bundle.task == "detection":
        found = decode_detections(
            output, bundle.classes, score_threshold=DISPLAY_THRESHOLD, form=bundle.boxes
        )
        scores = output[0, 4:].max(1)
        boxes = tuple(to_frame(found, height, width, bundle.input))
        return VariantAnswer(variant, tuple(map(float, scores)), boxes)
    scores = torch.from_numpy(output[0]).double().softmax(0).numpy()
    return VariantAnswer(variant, tuple(map(float, scores)), ())


def _label_of(answer: VariantAnswer, bundle: Bundle) -> str:
    """The class that is explained where nobody named one."""
    if bundle.task == "detection":
        return answer.boxes[0].label if answer.boxes else bundle.classes[0]
    return bundle.classes[int(np.argmax(answer.scores))]


def _variant_json(variant: Variant) -> dict[str, str]:
    return {"structure": variant.structure.value, "merge": variant.merge.value}
