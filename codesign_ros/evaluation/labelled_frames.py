"""Frames with known truth, letterboxed for a network whose accuracy is measured on them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from codesign_ros.bundle import Bundle
from codesign_ros.data.frames import FrameSource
from codesign_ros.evaluation.classification import class_indices
from codesign_ros.evaluation.judges import BoxJudge, ClassJudge, Judge
from codesign_ros.pixels.letterbox import letterbox
from codesign_ros.types.boxes import GroundTruth
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.tensors import InputSpec


@dataclass(frozen=True, eq=False)
class MeasuredFrames:
    """Frames and what is in them.

    Attributes:
        images: (n, H, W, 3) uint8, RGB, letterboxed.
        truths: what is in each frame, boxes in pixels of the frame as it was.
        sizes: height and width of each frame as it was [px].
        classes: those of a detector's classes that count; None = all.
        is_film: whether they come one after the other, from one camera.
    """

    images: np.ndarray
    truths: tuple[GroundTruth, ...]
    sizes: tuple[tuple[int, int], ...]
    classes: tuple[str, ...] | None = None
    is_film: bool = False

    @classmethod
    def of_source(cls, source: FrameSource, input: InputSpec) -> MeasuredFrames:
        """Read all frames of a source into memory.

        Raises:
            CodesignError: the source has no end, no frames, or frames without truth.
        """
        if source.frames is None:
            raise CodesignError("the data has no known end; give a number of frames")
        return cls.of_pictures(((frame.rgb(), frame.truth) for frame in source), input)

    @classmethod
    def of_pictures(
        cls, pictures: Iterable[tuple[np.ndarray, GroundTruth | None]], input: InputSpec
    ) -> MeasuredFrames:
        """Letterbox pictures, uint8 (height, width, 3) RGB, each with what is in it.

        Raises:
            CodesignError: there are none, or some without truth.
        """
        images: list[np.ndarray] = []
        truths: list[GroundTruth] = []
        sizes: list[tuple[int, int]] = []
        for picture, truth in pictures:
            if truth is None:
                raise CodesignError(
                    f"frame {len(images)} has no ground truth: accuracy needs labelled frames"
                )
            images.append(letterbox(picture, input))
            truths.append(truth)
            sizes.append((picture.shape[0], picture.shape[1]))
        if not images:
            raise CodesignError("there is no frame to measure the accuracy on")
        return cls(np.stack(images), tuple(truths), tuple(sizes))

    def judge(self, bundle: Bundle, chosen: Sequence[int] | None = None) -> Judge:
        """Make what compares a network's answers with the truth.

        Args:
            bundle: the network.
            chosen: indices of the frames that the answers are for; None = all.

        Raises:
            CodesignError: the bundle's task cannot be measured, or the truth has classes that it
                does not know.
        """
        indices = range(len(self.truths)) if chosen is None else chosen
        truths = [self.truths[i] for i in indices]
        if bundle.task == "detection":
            boxes = [truth.boxes for truth in truths]
            sizes = [self.sizes[i] for i in indices]
            counted = bundle.classes if self.classes is None else self.classes
            return BoxJudge(boxes, sizes, bundle.input, counted, bundle.classes, bundle.boxes)
        if bundle.task != "classification":
            raise CodesignError(
                f"bundle {bundle.path} is for {bundle.task}: what its output means is not known, "
                "so it has no accuracy to measure"
            )
        labels = [truth.label for truth in truths]
        return ClassJudge(class_indices(labels, bundle.classes))
