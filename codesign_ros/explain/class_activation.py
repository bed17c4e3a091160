"""Class-activation maps: which places of a picture speak for a class.

HiResCAM (Draelos and Carin, "Use HiResCAM instead of Grad-CAM for faithful explanations of
convolutional neural networks", arXiv 2011.08891): a feature map times the gradient of the class's
score by that map, element by element, summed over the channels. Grad-CAM (Selvaraju et al., ICCV
2017) first averages the gradient over the map, and so also lights up places that the score does not
come from; a detector, whose every anchor looks at its own place, would be shown wrongly.

A detector's neck takes several maps of the backbone. All maps that cross at a cut are explained
together: each gives its share of the score, and the shares are added at the input's resolution.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from codesign_ros.models.network import IMAGE, Network, meta_image, on_meta
from codesign_ros.pixels.letterbox import Letterbox
from codesign_ros.types.boxes import Box
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.tensors import InputSpec, TensorSpec


class ClassActivation(NamedTuple):
    """What speaks for a class, and where.

    Attributes:
        heat: float32 (H, W) at the network's input size, 0 or more: share of the score that comes
            from each pixel.
        score: the score that was explained, see ``class_score``.
    """

    heat: np.ndarray
    score: float


def map_cuts(network: Network) -> list[int]:
    """List the cuts where all that crosses are feature maps of more than one pixel.

    The image (cut 0) and the network's answer (cut N) are none.
    """
    cuts = range(1, len(network.segment_names))
    return [cut for cut in cuts if all(map(_is_map, network.crossing(cut)))]


def class_activation(
    network: Network, image: np.ndarray, *, cut: int, class_index: int, detection: bool
) -> ClassActivation:
    """Explain the score of a class by the maps that cross at a cut.

    Args:
        network: in evaluation mode, with a single output.
        image: float32 (1, 3, H, W), normalised.
        cut: one of ``map_cuts``.
        class_index: which class.
        detection: whether the output is a detector's, see ``class_score``.

    Raises:
        CodesignError: the score or a gradient is not finite.
    """
    names = [spec.name for spec in network.crossing(cut)]
    with torch.no_grad():
        maps = network.run({IMAGE: torch.from_numpy(image)}, 0, cut, names)
    leaves = {name: each.requires_grad_() for name, each in maps.items()}
    # Imported networks may write into what they are given (ReLU in place); not into the leaves.
    copies = {name: leaf.clone() for name, leaf in leaves.items()}
    outputs = network.run(copies, cut, len(network.segments), network.output_names)
    score = class_score(outputs[network.output_names[0]], class_index, detection=detection)
    gradients = torch.autograd.grad(score, list(leaves.values()))
    shares = [
        (leaf * gradient).detach()[0].sum(0).numpy()
        for leaf, gradient in zip(leaves.values(), gradients, strict=True)
    ]
    spec, centred = network.input_spec, _is_centred(network, cut)
    heat = sum((_at_input_size(share, spec, centred) for share in shares), np.float32(0))
    if not (math.isfinite(score.item()) and np.isfinite(heat).all()):
        raise CodesignError("the network's output is not finite: the weights are damaged")
    return ClassActivation(np.maximum(heat, 0), score.item())


def class_score(output: torch.Tensor, class_index: int, *, detection: bool) -> torch.Tensor:
    """Return the number whose origin is explained, a scalar.

    For logits (1, C) it is the class's logit. For a detector's boxes (1, 4 + C, anchors) it is
    -log prod(1 - p) over the class's probabilities of all anchors: minus the logarithm of the
    probability that no anchor sees the class, if they were independent. For small p that is their
    sum; and its gradient by an anchor's logit is p, where that of the sum, p (1 - p), would leave
    out the very anchors that are sure.
    """
    if not detection:
        return output[0, class_index]
    # A float32 sigmoid of more than 17 is 1, whose logarithm here would be infinite.
    highest = 1 - torch.finfo(output.dtype).eps
    return -torch.log1p(-output[0, 4 + class_index].clamp(max=highest)).sum()


def on_frame(heat: np.ndarray, letterbox: Letterbox, height: int, width: int) -> np.ndarray:
    """Cut the frame's part out of a heat map at input size and enlarge it.

    Args:
        heat: float32 (H, W) at the network's input size.
        letterbox: where the frame lies in the input.
        height: rows to return, of the frame or of a scaled copy of it.
        width: columns to return.

    Returns:
        float32 (height, width).
    """
    return resized(_of_frame(heat, letterbox), height, width)


def resized(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Scale an image (h, w) or (h, w, channels), linearly or by averages where it shrinks."""
    way = cv2.INTER_AREA if height < image.shape[0] else cv2.INTER_LINEAR
    return cv2.resize(image, (width, height), interpolation=way)


def share_inside(heat: np.ndarray, letterbox: Letterbox, boxes: list[Box]) -> float | None:
    """Return which share of a frame's heat lies inside boxes; heat on the border does not count.

    Args:
        heat: float32 (H, W) at the network's input size.
        letterbox: where the frame lies in the input.
        boxes: in pixels of the frame; they may overlap and stick out.

    Returns:
        0 to 1; None where there is no heat at all.
    """
    inside = _of_frame(heat, letterbox).astype(np.float64)
    total = float(inside.sum())
    covered = np.zeros(heat.shape, bool)
    for box in map(letterbox.to_input, boxes):
        left, top = max(0, round(box.x_min)), max(0, round(box.y_min))
        covered[top : max(top, round(box.y_max)), left : max(left, round(box.x_max))] = True
    share = float(inside[_of_frame(covered, letterbox)].sum())
    return share / total if total > 0 else None


def _of_frame(array: np.ndarray, letterbox: Letterbox) -> np.ndarray:
    rows = slice(letterbox.top, letterbox.top + letterbox.height)
    return array[rows, letterbox.left : letterbox.left + letterbox.width]


def _is_map(spec: TensorSpec) -> bool:
    return len(spec.shape) == 4 and spec.shape[2] * spec.shape[3] > 1


def _at_input_size(share: np.ndarray, spec: InputSpec, centred: bool) -> np.ndarray:
    """Spread the share of each place of a map (h, w) over the pixels around it, linearly."""
    down, stride_y = _interpolation(share.shape[0], spec.height, centred)
    across, stride_x = _interpolation(share.shape[1], spec.width, centred)
    return down @ share @ across.T / np.float32(stride_y * stride_x)


def _interpolation(cells: int, pixels: int, centred: bool) -> tuple[np.ndarray, float]:
    """Weights (pixels, cells) of linear interpolation along one side, and the stride [px].

    Halving rounds up, so 400 pixels at stride 32 are 13 cells, which reach beyond them.
    """
    stride = 2.0 ** round(math.log2(pixels / cells))
    if math.ceil(pixels / stride) != cells:
        stride = pixels / cells
    first = 0.0 if centred else (stride - 1) / 2
    at = ((np.arange(pixels) - first) / stride).clip(0, cells - 1)
    weights = 1 - np.abs(at[:, None] - np.arange(cells))
    return weights.clip(min=0).astype(np.float32), stride


def _is_centred(network: Network, cut: int) -> bool:
    """Whether place i of a map looks at pixel i * stride of the input, not at (i + 0.5) * stride.

    It does if every layer before pads as much as its kernel reaches; an even kernel cannot.
    """
    wanted = [spec.name for spec in network.crossing(cut)]
    with _Paddings() as paddings, torch.no_grad():
        on_meta(network).run({IMAGE: meta_image(network.input_spec)}, 0, cut, wanted)
    return paddings.are_even


class _Paddings(TorchDispatchMode):
    """Watches all convolutions and poolings, whoever calls them."""

    def __init__(self) -> None:
        super().__init__()
        self.are_even = True

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kernel, padding, dilation = (1,), (0,), (1,)
        if func is torch.ops.aten.convolution.default:
            kernel, padding, dilation = args[1].shape[2:], args[4], args[5]
        elif func is torch.ops.aten.max_pool2d_with_indices.default:
            kernel, padding, dilation = args[1], *_filled(args[3:5], (0, 0), (1, 1))
        elif func is torch.ops.aten.avg_pool2d.default:
            kernel, padding = args[1], *_filled(args[3:4], (0, 0))
        for k, p, d in zip(kernel, padding, dilation, strict=False):
            self.are_even &= 2 * p == d * (k - 1)
        return func(*args, **(kwargs or {}))


def _filled(given: tuple[Any, ...], *defaults: Any) -> tuple[Any, ...]:
    """Arguments as given, and defaults for those that were left out."""
    return given + defaults[len(given) :]
