"""Augmented pictures for the detector's training: crops, mosaics and whole frames.

A canvas is smaller than the network's input and shows objects at the size that they have there. It
is one crop or a mosaic of four (Bochkovskiy et al., "YOLOv4", arXiv 2004.10934), most of them laid
around an object, so that little time goes into empty walls. Towards the end of a training whole
frames take the canvases' place, as the network will see them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import cv2
import numpy as np

from codesign_ros.pixels.letterbox import PAD_VALUE, Letterbox, laid
from codesign_ros.training.detector.degrade import Degradation, degrade
from codesign_ros.types.tensors import InputSpec


class Labelled(Protocol):
    """Pictures with boxes, by number."""

    def __len__(self) -> int:
        """Return the number of pictures."""

    def image(self, index: int) -> np.ndarray:
        """Return a picture, uint8 (H, W, 3), RGB."""

    def boxes(self, index: int) -> np.ndarray:
        """Return its boxes, float32 (n, 4): x_min, y_min, x_max, y_max in pixels."""

    def labels(self, index: int) -> np.ndarray:
        """Return their classes, int64 (n,)."""


@dataclass(frozen=True)
class Augmentation:
    """How pictures are changed. Ranges are (low, high); shares are probabilities.

    Attributes:
        mosaic: share of canvases that are mosaics.
        around_object: share of crops laid around an object, where the picture has one.
        keep_size: share of crops in which objects keep their size.
        scale: otherwise sizes are multiplied by this (uniform in the logarithm).
        flip: share of mirrored crops.
        gain: factor on the brightness (uniform in the logarithm).
        gamma: exponent on the brightness (likewise).
        saturation: factor on the colours' saturation.
        hue_degrees: largest turn of the hue.
        degradation: how pictures lose quality; None = they do not.
        visible: share of a box's area that must be left for its label to stay.
        side_px: and how long its sides must be at least [px].
    """

    mosaic: float = 0.5
    around_object: float = 0.85
    keep_size: float = 0.5
    scale: tuple[float, float] = (0.4, 2.0)
    flip: float = 0.5
    gain: tuple[float, float] = (0.55, 1.7)
    gamma: tuple[float, float] = (0.65, 1.5)
    saturation: tuple[float, float] = (0.3, 1.6)
    hue_degrees: float = 14.0
    degradation: Degradation | None = field(default_factory=Degradation)
    visible: float = 0.35
    side_px: float = 3.0


@dataclass(frozen=True)
class Canvases:
    """A batch: images uint8 (B, h, w, 3) RGB, and for each its boxes (n, 4) and labels (n,)."""

    images: np.ndarray
    boxes: tuple[np.ndarray, ...]
    labels: tuple[np.ndarray, ...]


class CanvasSampler:
    """Draws batches; the same seed draws the same ones.

    Args:
        data: where pictures come from; every one is used once before one is used again.
        spec: the network's input.
        seed: of the order and of all that is random.
        augmentation: how pictures are changed.
    """

    def __init__(
        self, data: Labelled, spec: InputSpec, seed: int, augmentation: Augmentation
    ) -> None:
        self._data = data
        self._spec = spec
        self._rng = np.random.default_rng(seed)
        self._augmentation = augmentation
        self._order: list[int] = []

    def state(self) -> dict[str, Any]:
        """Return where the sampler stands, as plain values."""
        return {"rng": self._rng.bit_generator.state, "order": list(self._order)}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what ``state`` returned."""
        self._rng.bit_generator.state = state["rng"]
        self._order = list(state["order"])

    def canvases(self, count: int, height: int, width: int) -> Canvases:
        """Draw canvases of this size [px]."""
        drawn = [self._canvas(height, width) for _ in range(count)]
        return self._batch(drawn)

    def frames(self, count: int) -> Canvases:
        """Draw whole frames, letterboxed as for inference, mirrored and recoloured at random."""
        drawn = []
        for _ in range(count):
            index = self._next()
            image, boxes = self._data.image(index), self._data.boxes(index)
            place = Letterbox.of(image.shape[0], image.shape[1], self._spec)
            scale = np.array([place.scale_x, place.scale_y])
            offset = np.array([place.left, place.top], float)
            size = (self._spec.height, self._spec.width)
            drawn.append(self._placed(image, boxes, self._data.labels(index), scale, offset, size))
        return self._batch(drawn)

    def _batch(self, drawn: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Canvases:
        drawn = [self._finished(*each) for each in drawn]
        images, boxes, labels = zip(*drawn, strict=True)
        return Canvases(np.stack(images), boxes, labels)

    def _next(self) -> int:
        if not self._order:
            self._order = self._rng.permutation(len(self._data)).tolist()
        return self._order.pop()

    def _canvas(self, height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if self._rng.random() >= self._augmentation.mosaic:
            return self._crop(height, width)
        image = np.empty((height, width, 3), np.uint8)
        x, y = (int(self._rng.uniform(0.3, 0.7) * side) for side in (width, height))
        all_boxes, all_labels = [], []
        for top, bottom in ((0, y), (y, height)):
            for left, right in ((0, x), (x, width)):
                part, boxes, labels = self._crop(bottom - top, right - left)
                image[top:bottom, left:right] = part
                all_boxes.append(boxes + np.array([left, top, left, top], np.float32))
                all_labels.append(labels)
        return image, np.concatenate(all_boxes), np.concatenate(all_labels)

    def _crop(self, height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Draw one crop of the next picture."""
        rng, augmentation = self._rng, self._augmentation
        index = self._next()
        image, boxes = self._data.image(index), self._data.boxes(index)
        rows, columns = image.shape[:2]
        place = Letterbox.of(rows, columns, self._spec)
        scale = np.array([place.scale_x, place.scale_y])
        if rng.random() >= augmentation.keep_size:
            scale = scale * _log_uniform(rng, augmentation.scale)
        if len(boxes) and rng.random() < augmentation.around_object:
            box = boxes[rng.integers(len(boxes))]
            centre = (box[:2] + box[2:]) / 2
        else:
            centre = rng.random(2) * (columns, rows)
        # The centre lands anywhere but at the very edge of the crop.
        offset = rng.uniform(0.15, 0.85, 2) * (width, height) - centre * scale
        # Whole pixels: a crop that keeps its size also keeps its sharpness.
        labels = self._data.labels(index)
        return self._placed(image, boxes, labels, scale, np.round(offset), (height, width))

    def _placed(
        self,
        image: np.ndarray,
        boxes: np.ndarray,
        labels: np.ndarray,
        scale: np.ndarray,
        offset: np.ndarray,
        size: tuple[int, int],
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Lay ``image * scale + offset`` into a picture of this size, and its boxes with it."""
        height, width = size
        if np.allclose(scale, 1):
            placed = laid(image, int(offset[0]), int(offset[1]), size)
        else:
            # Pixel centres lie at halves in box coordinates and at whole numbers in OpenCV's.
            shift = offset + (scale - 1) / 2
            matrix = np.array([[scale[0], 0, shift[0]], [0, scale[1], shift[1]]])
            if scale.max() < 0.6:  # warping alone would skip pixels
                side = tuple(np.maximum(1, np.round(image.shape[1::-1] * scale)).astype(int))
                image = cv2.resize(image, side, interpolation=cv2.INTER_AREA)
                matrix = np.array([[1.0, 0, offset[0]], [0, 1.0, offset[1]]])
            placed = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR,
                                    borderValue=(PAD_VALUE,) * 3)  # fmt: skip
        moved = boxes * np.tile(scale, 2) + np.tile(offset, 2)
        clipped = np.clip(moved, 0, [width, height, width, height]).astype(np.float32)
        sides = clipped[:, 2:] - clipped[:, :2]
        area = (moved[:, 2:] - moved[:, :2]).prod(1)
        kept = (sides.min(1, initial=np.inf) >= self._augmentation.side_px) & (
            sides.prod(1) >= self._augmentation.visible * area
        )
        return placed, clipped[kept], labels[kept]

    def _finished(
        self, image: np.ndarray, boxes: np.ndarray, labels: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Mirror, recolour and degrade."""
        rng, augmentation = self._rng, self._augmentation
        if rng.random() < augmentation.flip:
            image = image[:, ::-1]
            boxes = boxes.copy()
            boxes[:, [0, 2]] = image.shape[1] - boxes[:, [2, 0]]
        levels = np.arange(256) / 255
        gain, gamma = (_log_uniform(rng, r) for r in (augmentation.gain, augmentation.gamma))
        table = np.clip(255 * gain * levels**gamma, 0, 255).astype(np.uint8)
        image = cv2.LUT(np.ascontiguousarray(image), table)
        hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
        turn = rng.uniform(-1, 1) * augmentation.hue_degrees / 2  # OpenCV counts in two degrees
        factor = rng.uniform(*augmentation.saturation)
        hues = ((np.arange(256) + turn) % 180).astype(np.uint8)
        saturations = np.clip(np.arange(256) * factor, 0, 255).astype(np.uint8)
        tables = np.stack([hues, saturations, np.arange(256, dtype=np.uint8)], 1)[None]
        image = cv2.cvtColor(cv2.LUT(hsv, tables), cv2.COLOR_HSV2RGB)
        if augmentation.degradation is not None:
            image = degrade(image, rng, augmentation.degradation)
        return image, boxes, labels


def _log_uniform(rng: np.random.Generator, bounds: tuple[float, float]) -> float:
    return float(np.exp(rng.uniform(*np.log(bounds))))
