"""An 8-bit piece that begins with the frame's pixels, without floats in between.

Of a quantised network's head a good part is its first convolution and what leads to it: ONNX
Runtime rounds the normalised frame, turns it from planes to pixels, and has no fast kernel for
three channels (its own profiler shows them). Here pixels of four channels come in, each already the
code that rounding would give; the fourth has no weight. The numbers are the same, to the bit.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import onnx
import onnx.numpy_helper
from onnx import TensorProto, helper

from codesign_ros.pixels.letterbox import check_input, normalise
from codesign_ros.types.tensors import IMAGE, InputSpec, TensorSpec

_CHANNELS = 4  # kernels for 8 bits take them in fours
_ZERO, _ZERO_POINT = 128, "pixel_zero_point"
_Q, _DQ = "QuantizeLinear", "DequantizeLinear"


def pixel_piece(piece: bytes, spec: InputSpec) -> tuple[bytes, TensorSpec, float] | None:
    """Rewrite a quantised piece that begins with the image to take codes of pixels.

    Args:
        piece: from ``PieceCutter``, written for the CPU.
        spec: the network's input.

    Returns:
        The piece, serialised, what it takes as ``image`` (uint8 (1, H, W, 4)), and the step of a
        code in units of the normalised image. None where the piece does not round the image
        first, or takes it in another way than by convolutions over all channels.
    """
    model = onnx.load_model_from_string(piece)
    graph = model.graph
    users: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    producers = {name: node for node in graph.node for name in node.output}
    stored = {tensor.name: tensor for tensor in graph.initializer}
    first = users.get(IMAGE, [])
    if len(first) != 1 or first[0].op_type != _Q:
        return None
    rounding = first[0]
    step, zero = (onnx.numpy_helper.to_array(stored[name]) for name in rounding.input[1:])
    restorings = users[rounding.output[0]]
    convolutions = [user for each in restorings for user in users[each.output[0]]]
    weights = [_weights(node, producers) for node in convolutions]
    if (
        zero.dtype != np.int8
        or zero != 0
        or any(each.op_type != _DQ for each in restorings)
        or any(name is None or len(users[name]) != 1 for name in weights)
        or any(name not in stored or stored[name].dims[1] != 3 for name in weights)
    ):
        return None
    for name in weights:
        three = onnx.numpy_helper.to_array(stored[name])
        four = np.zeros((three.shape[0], _CHANNELS, *three.shape[2:]), three.dtype)
        four[:, :3] = three
        stored[name].CopyFrom(onnx.numpy_helper.from_array(four, name))
    shape = (1, spec.height, spec.width, _CHANNELS)
    planes = f"{IMAGE}_planes"
    for each in restorings:
        each.input[0], each.input[2] = planes, _ZERO_POINT
    graph.node.remove(rounding)
    graph.node.insert(0, helper.make_node("Transpose", [IMAGE], [planes], perm=(0, 3, 1, 2)))
    graph.initializer.append(helper.make_tensor(_ZERO_POINT, TensorProto.UINT8, [], [_ZERO]))
    needed = {name for node in graph.node for name in node.input}
    for name in rounding.input[1:]:
        if name not in needed:
            graph.initializer.remove(stored[name])
    graph.ClearField("input")
    graph.input.append(helper.make_tensor_value_info(IMAGE, TensorProto.UINT8, shape))
    graph.ClearField("value_info")  # says the old types; nothing needs it
    return model.SerializeToString(), TensorSpec(IMAGE, shape, "uint8"), float(step)


def _weights(node: onnx.NodeProto, producers: dict[str, onnx.NodeProto]) -> str | None:
    """The float weights of a rounded convolution over all channels; None if it is none."""
    groups = [attribute.i for attribute in node.attribute if attribute.name == "group"]
    if node.op_type != "Conv" or any(group != 1 for group in groups):
        return None
    restoring = producers.get(node.input[1])
    rounding = producers.get(restoring.input[0]) if restoring is not None else None
    return rounding.input[0] if rounding is not None and rounding.op_type == _Q else None


class PixelCodes:
    """Makes of a frame what ``pixel_piece`` takes.

    Args:
        spec: the network's input.
        step: of a code, in units of the normalised image.
    """

    def __init__(self, spec: InputSpec, step: float) -> None:
        self._spec = spec
        self._rest = np.full((spec.height, spec.width), _ZERO, np.uint8)
        tables = code_tables(spec, step)
        scalings = zip(spec.mean, spec.std, strict=True)
        self._to_codes = [
            _quickest(table, 1 / (255 * std * step), _ZERO - mean / (std * step))
            for table, (mean, std) in zip(tables, scalings, strict=True)
        ]

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Return the codes of a letterboxed frame, uint8 (H, W, 3) RGB, as uint8 (1, H, W, 4).

        Raises:
            CodesignError: the frame has another size or type.
        """
        check_input(image, self._spec)
        planes = cv2.split(image)
        codes = [to_codes(plane) for to_codes, plane in zip(self._to_codes, planes, strict=True)]
        return cv2.merge([*codes, self._rest])[np.newaxis]


def code_tables(spec: InputSpec, step: float) -> np.ndarray:
    """Return the code of each value of each channel, uint8 (3, 256).

    That is what QuantizeLinear (ONNX operators, version 13) makes of the normalised value with
    zero point 0, plus 128.
    """
    values = np.repeat(np.arange(256, dtype=np.uint8)[:, np.newaxis, np.newaxis], 3, axis=2)
    line = InputSpec(256, 1, spec.mean, spec.std)
    rounded = np.rint(normalise(values, line)[0, :, :, 0] / np.float32(step))
    return (np.clip(rounded, -128, 127) + _ZERO).astype(np.uint8)


def _quickest(table: np.ndarray, scale: float, offset: float) -> Callable[[np.ndarray], np.ndarray]:
    """What looks a plane up in a table: arithmetic where it gives the same, which is faster."""
    values = np.arange(256, dtype=np.uint8)
    if np.array_equal(cv2.convertScaleAbs(values, alpha=scale, beta=offset).ravel(), table):
        return lambda plane: cv2.convertScaleAbs(plane, alpha=scale, beta=offset)
    return lambda plane: cv2.LUT(plane, table)
