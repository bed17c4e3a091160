"""What an imported detector gives, and how it becomes (1, 4 + C, anchors).

Exports differ: YOLOv8, 9 and 11 give (1, 4 + C, anchors) with boxes as centre and size, perhaps
with other outputs behind; YOLOv10 gives (1, rows, 6), each with corners, score and class; others
give (1, anchors, 4 + C). All is in pixels of the input, and scores are probabilities.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from codesign_ros.models.graph.export import first_line
from codesign_ros.types.boxes import BOX_FORMS, CENTRE, CORNERS
from codesign_ros.types.errors import CodesignError

_ROW = 6
"""Numbers of a row with a class: four of the box, score, index of the class."""

# Shares of the boxes that a form makes sense of: surely this one; surely not.
_SURE, _UNLIKELY = 0.99, 0.9
_WRONG = 0.5
# Probabilities, but for rounding.
_SCORES = (-1e-3, 1.0 + 1e-3)
# Larger numbers are no fractions of the input.
_LARGEST_FRACTION = 2.0


@dataclass(frozen=True)
class DetectorOutput:
    """How a module's output is turned into (1, 4 + C, anchors), and what its boxes are.

    Attributes:
        index: of the tensor among all that the module returns.
        transposed: whether it is (1, anchors, 4 + C).
        rows_of: number of classes where it is (1, rows, 6) with an index of the class; else None.
        boxes: ``CORNERS`` or ``CENTRE``.
        notes: what is to be said of it, a line each.
    """

    index: int
    transposed: bool
    rows_of: int | None
    boxes: str
    notes: tuple[str, ...]

    def read(self, made: Any) -> torch.Tensor:
        """Take (B, 4 + C, anchors) out of what the module returns."""
        output: torch.Tensor = _tensors(made)[self.index]
        if not (self.transposed or self.rows_of is not None):
            return output
        output = output.transpose(1, 2)
        if self.rows_of is None:
            return output
        box, score, label = output.split((4, 1, 1), 1)
        classes = torch.arange(self.rows_of, dtype=label.dtype, device=label.device)
        chosen = (label == classes[None, :, None]).to(score.dtype)
        return torch.cat((box, score * chosen), 1)

    def applied(self, module: nn.Module) -> nn.Module:
        """Return a copy of the module that gives (1, 4 + C, anchors)."""
        module = copy.deepcopy(module)
        # Not a module around it: all weights and segments keep their names.
        module.register_forward_hook(lambda _module, _args, made: self.read(made))
        return module


def recognise(
    module: nn.Module,
    images: np.ndarray,
    classes: int | None,
    boxes: str | None,
    *,
    trained: bool,
) -> DetectorOutput:
    """Find out what a detector gives, by its answers to some images.

    Args:
        module: the detector.
        images: (n, 3, H, W) float32, normalised.
        classes: how many it knows; None = as many as its output has.
        boxes: the form that the user says; None = as it looks.
        trained: whether it has weights that mean something: others answer anything, so that what is
            odd is noted and not refused.

    Raises:
        CodesignError: its output is not a detector's, is not finite, or its boxes are not in the
            form that was said; or they might be in either and nothing was said.
    """
    answers = _answers(module, images)
    index = _index_of(answers[0])
    output = np.concatenate([answer[index].numpy() for answer in answers])
    if not np.isfinite(output).all():
        raise CodesignError("the detector's output is not finite on the calibration images")
    notes = []
    if len(answers[0]) > 1:
        notes.append(f"of its {len(answers[0])} outputs the detections are {output.shape[1:]}")
    transposed, rows_of = _layout(output, classes)
    if rows_of is not None:
        notes.append("its rows (box, score, class) become boxes with a score for each class")
    elif transposed:
        notes.append("its output is transposed, to (1, 4 + C, anchors)")
    if classes is None:
        notes.append(_count_note(output.shape[1:], transposed=transposed))
    found = DetectorOutput(index, transposed, rows_of, CORNERS, ())
    standard = found.read([torch.from_numpy(output)] * (index + 1)).numpy()
    odd = _odd(standard, images.shape[2:])
    if odd and trained:
        raise CodesignError(odd)
    form, said = _form(standard[:, :4], images.shape[2:], boxes, trained=trained)
    notes += [said] if not odd else [said, odd]
    return DetectorOutput(index, transposed, rows_of, form, tuple(notes))


@torch.no_grad()
def _answers(module: nn.Module, images: np.ndarray) -> list[list[torch.Tensor]]:
    module = copy.deepcopy(module).cpu().float().eval()
    try:
        return [_tensors(module(torch.from_numpy(image[None].copy()))) for image in images]
    except Exception as error:  # the user's code may raise anything
        height, width = images.shape[2:]
        raise CodesignError(
            f"the network does not accept an image of {height}x{width}: {first_line(error)}"
        ) from error


def _tensors(made: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(made) if isinstance(leaf, torch.Tensor)]


def _index_of(outputs: Sequence[torch.Tensor]) -> int:
    """Index of the first output of three axes that has room for a box and a class."""
    flat = [each.shape for each in outputs if each.ndim == 3 and len(each) == 1]
    for shape, other in itertools.permutations(flat, 2):
        # Boxes (1, n, 4) or (1, 4, n) beside scores for as many.
        for axis in (1, 2):
            if shape[3 - axis] == 4 < shape[axis] == other[axis]:
                raise CodesignError(
                    f"boxes {tuple(shape)} and scores {tuple(other)} are two outputs: let the "
                    "network end with one, (1, 4 + C, anchors), by torch.cat"
                )
    for index, output in enumerate(outputs):
        if output.ndim == 3 and len(output) == 1 and max(output.shape) > 4:
            return index
    shapes = ", ".join(str(tuple(output.shape)) for output in outputs)
    raise CodesignError(
        f"detection needs one output (1, 4 + C, anchors), the network has {shapes or 'none'}"
    )


def _layout(output: np.ndarray, classes: int | None) -> tuple[bool, int | None]:
    """Whether an output (n, a, b) is transposed, and how many classes its rows have, if it has."""
    a, b = output.shape[1:]
    rows = b == _ROW and _has_classes(output)
    if classes is not None:
        if a == 4 + classes and not (rows and classes == _ROW - 4):
            return False, None
        if b == 4 + classes and not rows:
            return True, None
        if rows:
            _check_classes(output, classes)
            return True, classes
        more = ""
        if 5 + classes in (a, b):
            more = "; with a score for any object, as YOLOv5 and 7 have, it cannot be read"
        raise CodesignError(
            f"a detector of {classes} classes gives (1, {4 + classes}, anchors), the network "
            f"(1, {a}, {b}){more}"
        )
    if rows:
        raise CodesignError(
            f"the output (1, {a}, {b}) has a box, a score and a class in each row: say with "
            "--classes how many classes there are"
        )
    # There are more anchors than classes, if there are enough numbers for a box and a class.
    return (b < a and b > 4) or a <= 4, None


def _count_note(shape: tuple[int, ...], *, transposed: bool) -> str:
    """Say how many classes an output (a, b) is taken to have where nobody says it."""
    count = shape[transposed] - 4
    note = f"classes: {count}, as many as there are numbers behind a box; --classes is not given"
    if not transposed or count == 1:
        return note
    return (
        f"{note}. YOLOv5 and 7 give (1, anchors, 5 + C) like this (1, {shape[0]}, {shape[1]}), "
        f"with a score for any object before those of {count - 1} classes, which would be taken "
        f"for class 0: give --classes to be sure"
    )


def _has_classes(output: np.ndarray) -> bool:
    """Whether rows end with the index of a class: whole numbers, which no scores are."""
    labels = output[..., 5]
    return bool((labels == np.round(labels)).all() and (labels >= 0).all() and len(labels[0]) > 1)


def _check_classes(output: np.ndarray, classes: int) -> None:
    if (highest := int(output[..., 5].max())) >= classes:
        raise CodesignError(f"the detector answers with class {highest}, of only {classes} (0 on)")


def _odd(output: np.ndarray, size: tuple[int, ...]) -> str:
    """What is wrong with boxes and scores, if something is."""
    boxes, scores = output[:, :4], output[:, 4:]
    if scores.size and not (_SCORES[0] <= scores.min() and scores.max() <= _SCORES[1]):
        return (
            f"the scores are {scores.min():.3g} to {scores.max():.3g} and not probabilities: let "
            "the network end with its sigmoid"
        )
    if boxes.size and np.abs(boxes).max() <= _LARGEST_FRACTION < min(size) / 8:
        return (
            f"no number of a box is above {np.abs(boxes).max():.3g}: boxes must be in pixels of "
            "the input, not in fractions of it"
        )
    return ""


def _form(
    boxes: np.ndarray, size: tuple[int, ...], said: str | None, *, trained: bool
) -> tuple[str, str]:
    """Form of boxes (n, 4, anchors), and how it is known."""
    fits = {
        CORNERS: float(np.mean((boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]))),
        CENTRE: float(np.mean(_are_centres(boxes, size))),
    }
    if said is not None:
        (other,) = (form for form in BOX_FORMS if form != said)
        if fits[said] < _WRONG and fits[other] >= _SURE:
            raise CodesignError(
                f"--boxes {said}: on the calibration images only {fits[said]:.0%} of its boxes "
                f"have an area as that; as {other} {fits[other]:.0%} have: take --boxes {other}"
            )
        return said, f"boxes: {_words(said)}, as --boxes says"
    if fits[CORNERS] >= _SURE:
        both = fits[CENTRE] >= _SURE and _spread(boxes, size) < _WRONG
        doubt = "; they might be centres and sizes too: say --boxes" if both else ""
        return CORNERS, f"boxes: {_words(CORNERS)}, as they look on the calibration images{doubt}"
    if fits[CORNERS] <= _UNLIKELY and fits[CENTRE] >= _SURE:
        return CENTRE, f"boxes: {_words(CENTRE)}, as they look on the calibration images"
    if trained:
        raise CodesignError(
            f"of its boxes on the calibration images {fits[CORNERS]:.0%} have an area as corners "
            f"and {fits[CENTRE]:.0%} as centre and size: say --boxes corners or --boxes centre"
        )
    return CORNERS, (
        f"boxes: taken for {_words(CORNERS)}; random weights do not tell, so say --boxes"
    )


def _are_centres(boxes: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Whether boxes, as centre and size, have an area and touch the input."""
    x, y, width, height = (boxes[:, i] for i in range(4))
    touches = (np.abs(x - size[1] / 2) < (size[1] + width) / 2) & (
        np.abs(y - size[0] / 2) < (size[0] + height) / 2
    )
    return (width > 0) & (height > 0) & touches


def _spread(boxes: np.ndarray, size: tuple[int, ...]) -> float:
    """The share of the input over which the first two numbers of the boxes are spread."""
    x, y = boxes[:, 0], boxes[:, 1]
    return float(min(np.ptp(x) / size[1], np.ptp(y) / size[0]))


def _words(form: str) -> str:
    corners = "corners (x_min, y_min, x_max, y_max)"
    return corners if form == CORNERS else "centre and size (x, y, width, height)"
