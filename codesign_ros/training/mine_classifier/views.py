"""From rendered scenes to training batches: windows of frames, augmentation, dense targets.

A bare head may be six pixels wide in a frame of 640 x 400, and the class of the frame is one of
three words: that alone teaches slowly. The boxes are exact, so every view also says for each cell
of the network's last map whether a helmet or a bare head lies there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from codesign_ros.pixels.letterbox import laid
from codesign_ros.training.scenes import SceneSet
from codesign_ros.types.boxes import Box
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.tensors import InputSpec

EMPTY, HELMETS, BARE_HEADED = range(3)
IGNORED = -100
"""Class of a view that has none for sure; cross entropy leaves it out."""

CELL_LABELS = ("helmet", "head")
"""Box labels that the dense targets tell apart, in the order of their channels."""

# A box that the window's edge cuts counts as seen from this share of its area on.
_SEEN_SHARE = 0.7
# Cells this near to a box are neither asked to see it nor not to [px].
_MARGIN_PX = 8.0
# Full frames are moved by up to this much, so that the network's grid falls differently [px].
_SHIFT_PX = 16


@dataclass(frozen=True)
class Batch:
    """Views of one size, as numpy arrays.

    Attributes:
        images: (B, h, w, 3) uint8, RGB.
        labels: (B,) int64, ``EMPTY``, ``HELMETS``, ``BARE_HEADED`` or ``IGNORED``.
        cells: (B, 2, rows, columns) float32, 1 where the centre of a box of ``CELL_LABELS`` lies.
        cell_weights: as ``cells``; 0 where a cell is not judged.
    """

    images: np.ndarray
    labels: np.ndarray
    cells: np.ndarray
    cell_weights: np.ndarray


def class_of_view(boxes: Sequence[Box], height: int, width: int) -> int:
    """Tell the class of a window from boxes in its own pixels.

    Returns:
        ``IGNORED`` where an object is cut by the edge so that the class is a matter of opinion.
    """
    shares = [(box.label, _visible_share(box, height, width)) for box in boxes]
    heads = [(label, share) for label, share in shares if label in CELL_LABELS and share > 0]
    if any(label == "head" and share >= _SEEN_SHARE for label, share in heads):
        return BARE_HEADED
    if any(share < _SEEN_SHARE for _, share in heads):
        return IGNORED
    if heads:
        return HELMETS
    return IGNORED if any(share > 0 for _, share in shares) else EMPTY


def cell_targets(
    boxes: Sequence[Box], height: int, width: int, stride: int
) -> tuple[np.ndarray, np.ndarray]:
    """Say which cells of a map see a helmet or a bare head.

    With 3x3 convolutions of stride 2 and padding 1, cell (i, j) of the map is centred on pixel
    (``stride`` * i, ``stride`` * j).

    Returns:
        (targets, weights), both (2, ceil(height / stride), ceil(width / stride)) float32.
    """
    shape = (len(CELL_LABELS), -(-height // stride), -(-width // stride))
    targets, weights = np.zeros(shape, np.float32), np.ones(shape, np.float32)
    hits = []
    for box in boxes:
        share = _visible_share(box, height, width)
        if box.label not in CELL_LABELS or share == 0:
            continue
        channel = CELL_LABELS.index(box.label)
        reach = stride / 2 + _MARGIN_PX
        rows, columns = (
            slice(max(0, int(np.ceil((low - reach) / stride))), int((high + reach) // stride) + 1)
            for low, high in ((box.y_min, box.y_max), (box.x_min, box.x_max))
        )
        weights[channel, rows, columns] = 0
        if share >= _SEEN_SHARE:
            row = round((box.y_min + box.y_max) / 2 / stride)
            column = round((box.x_min + box.x_max) / 2 / stride)
            hits.append((channel, min(row, shape[1] - 1), min(column, shape[2] - 1)))
    for hit in hits:  # after all masks, so that no neighbour's mask hides a hit
        targets[hit] = weights[hit] = 1
    return targets, weights


class ViewSampler:
    """Draws batches from scenes, the same ones for the same seed.

    Args:
        scenes: where frames and boxes come from.
        stride: pixels between cells of the dense targets.
        seed: where all choices come from.
    """

    def __init__(self, scenes: SceneSet, stride: int, seed: int) -> None:
        self._scenes = scenes
        self._stride = stride
        self._rng = np.random.default_rng(seed)
        self._order: list[int] = []

    def state(self) -> dict[str, Any]:
        """Return where the sampler stands, as plain values."""
        return {"rng": self._rng.bit_generator.state, "order": list(self._order)}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what ``state`` returned."""
        self._rng.bit_generator.state = state["rng"]
        self._order = list(state["order"])

    def batch(self, size: int, height: int, width: int) -> Batch:
        """Draw ``size`` views of ``height`` x ``width``; every scene comes up once per round.

        A view smaller than the frames is a window, which half the time has a head in it. A view
        as large as the frames is the frame, moved a little.
        """
        views = [self._view(self._next_scene(), height, width) for _ in range(size)]
        images, labels, cells, weights = (np.stack(part) for part in zip(*views, strict=True))
        return Batch(images, labels.astype(np.int64), cells, weights)

    def _next_scene(self) -> int:
        if not self._order:
            self._order = self._rng.permutation(len(self._scenes.labels)).tolist()
        return self._order.pop()

    def _view(
        self, scene: int, height: int, width: int
    ) -> tuple[np.ndarray, int, np.ndarray, np.ndarray]:
        frame = self._scenes.images[scene]
        boxes = self._scenes.boxes[scene]
        if (height, width) == frame.shape[:2]:
            top, left = self._rng.integers(-_SHIFT_PX, _SHIFT_PX + 1, 2).tolist()
            image = laid(frame, -left, -top, (height, width))
        else:
            top, left = self._window_corner(boxes, frame.shape[:2], height, width)
            image = frame[top : top + height, left : left + width]
        boxes = tuple(_shifted(box, -top, -left) for box in boxes)
        label = class_of_view(boxes, height, width)
        if self._rng.random() < 0.5:
            image = image[:, ::-1]
            boxes = tuple(_mirrored(box, width) for box in boxes)
        targets, weights = cell_targets(boxes, height, width, self._stride)
        return self._relit(image), label, targets, weights

    def _window_corner(
        self, boxes: Sequence[Box], frame: tuple[int, ...], height: int, width: int
    ) -> tuple[int, int]:
        """Choose (top, left) of a window inside the frame, half the time around a head."""
        heads = [box for box in boxes if box.label in CELL_LABELS]
        free = (frame[0] - height, frame[1] - width)
        if not heads or self._rng.random() < 0.5:
            return int(self._rng.integers(free[0] + 1)), int(self._rng.integers(free[1] + 1))
        box = heads[int(self._rng.integers(len(heads)))]
        centre = ((box.y_min + box.y_max) / 2, (box.x_min + box.x_max) / 2)
        share = self._rng.uniform(0.08, 0.92, 2)
        top, left = (
            int(np.clip(c - s * size, 0, room))
            for c, s, size, room in zip(centre, share, (height, width), free, strict=True)
        )
        return top, left

    def _relit(self, image: np.ndarray) -> np.ndarray:
        """Change brightness, gamma and, a little, the colour of the light."""
        gamma = np.exp(self._rng.uniform(-0.35, 0.35))
        gain = np.exp(self._rng.uniform(-0.25, 0.25) + self._rng.uniform(-0.06, 0.06, 3))
        ramp = (np.arange(256, dtype=np.float32) / 255) ** gamma
        table = np.clip(255 * ramp[:, None] * gain[None, :] + 0.5, 0, 255).astype(np.uint8)
        return cv2.LUT(np.ascontiguousarray(image), table.reshape(1, 256, 3))


def check_stride(spec: InputSpec, map_shape: tuple[int, ...]) -> int:
    """Return how many input pixels lie between the cells of a map (1, C, rows, columns).

    Raises:
        CodesignError: the map is not a regular grid over the input.
    """
    rows, columns = map_shape[2:]
    stride = 2 ** round(np.log2(spec.width / columns))
    if (-(-spec.height // stride), -(-spec.width // stride)) != (rows, columns):
        raise CodesignError(
            f"the network's last map of {columns} x {rows} cells is no regular grid over "
            f"{spec.width} x {spec.height} pixels"
        )
    return stride


def _visible_share(box: Box, height: int, width: int) -> float:
    """Share of the box's area inside (height, width), 0 to 1."""
    inside_x = min(box.x_max, width) - max(box.x_min, 0)
    inside_y = min(box.y_max, height) - max(box.y_min, 0)
    area = (box.x_max - box.x_min) * (box.y_max - box.y_min)
    return max(inside_x, 0) * max(inside_y, 0) / area if area > 0 else 0.0


def _shifted(box: Box, down: float, right: float) -> Box:
    return Box(box.label, box.x_min + right, box.y_min + down, box.x_max + right, box.y_max + down)


def _mirrored(box: Box, width: int) -> Box:
    return Box(box.label, width - box.x_max, box.y_min, width - box.x_min, box.y_max)
