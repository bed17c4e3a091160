"""INT8: which tensors of an exported network are rounded, and by how much.

The result is an ONNX model with QuantizeLinear-DequantizeLinear pairs (QDQ), made by ONNX Runtime's
static quantisation and then put right in three places, see ``quantise``. It keeps to what TensorRT
builds: weights and activations int8 and symmetric (zero point 0), biases in float, weights as pairs
too. ``engines.cpu_form`` writes the same in the way that ONNX Runtime's CPU kernels want it.

Ranges are the least and the greatest value that calibration saw ("min-max"). Percentiles and
entropy clip rare large values, which is where a detector's certain answers are, and with a handful
of frames they have too little to go by.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.calibrate import CalibraterBase
from onnxruntime.quantization.quant_utils import add_pre_process_metadata

from codesign_ros.hardware.cpu_quota import usable_cores
from codesign_ros.models.neck import DECODED
from codesign_ros.types.tensors import IMAGE, NECK

# What takes the time, and has weights.
_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
# What hands numbers on as they are or cuts them off; everything else is computed in float. An
# identity branch is one of the others: its scale for each channel would lose what it is there for
# if it were rounded with one step for all channels.
_PASSING = ("Relu", "Clip", "MaxPool", "Concat", "Resize", "Split")
_ACTIVATIONS = ("Relu", "Clip")
_Q, _DQ = "QuantizeLinear", "DequantizeLinear"


def quantise(model: bytes, images: Iterable[np.ndarray], *, per_channel: bool) -> bytes:
    """Quantise an exported network to 8 bits.

    What follows the last weights on a way to an output stays in float, and so do these weights:
    the answer itself (logits, box distances) would else be rounded to 255 steps. So does a neck:
    its latent's channels are of very different size.

    A tensor named as a segment is, where the next operation takes it rounded, the rounded one: what
    crosses a cut is float32 and rounding it again changes nothing, so that head and tail together
    are the whole.

    Args:
        model: the whole network from ``export_onnx``.
        images: normalised frames (1, 3, H, W) float32 to take the ranges from, at least one.
        per_channel: whether each output channel of a weight has a step of its own, or all share
            one.

    Returns:
        The model with pairs; the same for the same arguments, to the byte.
    """
    exported = onnx.load_model_from_string(model)
    segments = {output.name for output in exported.graph.output}
    # Otherwise the library advises to fold constants and infer shapes, which the export has done.
    add_pre_process_metadata(exported)
    with tempfile.TemporaryDirectory() as directory, _quiet_about_biases():
        file = Path(directory) / "quantised.onnx"
        quantize_static(
            exported,
            file,
            _Frames(images),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=[*_WEIGHTED, *_PASSING],
            per_channel=per_channel,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=_left_in_float(onnx.load_model_from_string(model).graph),
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={
                "ActivationSymmetric": True,
                "WeightSymmetric": True,
                "QuantizeBias": False,
                "AddQDQPairToWeight": True,
            },
        )
        quantised = onnx.load(file)
    _round_behind_activations(quantised.graph, segments)
    return quantised.SerializeToString(deterministic=True)


@contextmanager
def _quiet_about_biases() -> Iterator[None]:
    """Keep the library from warning of biases that it cannot round: none is to be rounded."""

    def is_of_something_else(record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith("Expected bias")

    logger = logging.getLogger()  # the library logs to the root
    logger.addFilter(is_of_something_else)
    try:
        yield
    finally:
        logger.removeFilter(is_of_something_else)


def _make_session(calibrater: CalibraterBase) -> None:
    """Make the session that calibrates, on as many threads as this process may use processors.

    The library's own has no number of threads: ONNX Runtime then binds one to each core of the
    machine, where a cpuset forbids it (`pthread_setaffinity_np failed`) or `taskset` does.
    """
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = max(1, int(usable_cores()))
    calibrater.infer_session = onnxruntime.InferenceSession(
        calibrater.augmented_model_path, options, providers=calibrater.execution_providers
    )


# ``quantize_static`` takes no options for it.
CalibraterBase.create_inference_session = _make_session


class _Frames(CalibrationDataReader):
    """Hands the frames to the library, one at a time."""

    def __init__(self, images: Iterable[np.ndarray]) -> None:
        self._images = iter(images)

    def get_next(self) -> dict[str, np.ndarray] | None:
        image = next(self._images, None)
        return None if image is None else {IMAGE: image}


def _left_in_float(graph: onnx.GraphProto) -> list[str]:
    """Names of the nodes that are not quantised."""
    return [*_after_the_last_weights(graph), *_of_the_neck(graph)]


def _of_the_neck(graph: onnx.GraphProto) -> list[str]:
    """Names of the nodes between what a neck takes and what it makes."""
    producers = {name: node for node in graph.node for name in node.output}
    segments = {output.name for output in graph.output}
    waiting = [name for name in segments if name == DECODED or name.startswith(f"{DECODED}.")]
    ends = segments - {NECK, *waiting}
    found: dict[str, None] = {}
    while waiting:
        name = waiting.pop()
        node = None if name in ends else producers.get(name)
        if node is not None and node.name not in found:
            found[node.name] = None
            waiting += node.input
    return list(found)


def _after_the_last_weights(graph: onnx.GraphProto) -> list[str]:
    """Names of the nodes from which no other node with weights can be reached."""
    leads_on: set[str] = set()  # tensors from which one can
    last = []
    for node in reversed(graph.node):  # an exported graph is sorted
        if leads_on.isdisjoint(node.output):
            last.append(node.name)
        if node.op_type in _WEIGHTED or not leads_on.isdisjoint(node.output):
            leads_on.update(node.input)
    return last


def _round_behind_activations(graph: onnx.GraphProto, segments: set[str]) -> None:
    """Take away rounding between an operation and its activation where there is one behind it too.

    Where what lies between crosses a cut, or the activation is another than ReLU, the rounding
    stays and takes the step of the one behind: what it cuts off, the activation cuts off anyway.
    """
    producers = {name: node for node in graph.node for name in node.output}
    users: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    for node in graph.node:
        before = producers.get(node.input[0]) if node.op_type in _ACTIVATIONS else None
        behind = [user for user in users.get(node.output[0], ()) if user.op_type == _Q]
        if before is None or before.op_type != _DQ or not behind:
            continue
        rounding = producers[before.input[0]]
        if node.op_type == "Relu" and before.output[0] not in segments:
            node.input[0] = rounding.input[0]
        elif users[before.output[0]] == [node]:
            for pair in (rounding, before):
                pair.input[1:] = behind[0].input[1:]
    needed = {name for node in graph.node for name in node.input}
    needed.update(output.name for output in graph.output)
    unused = [n for n in graph.node if n.op_type == _DQ and n.output[0] not in needed]
    unused += [producers[node.input[0]] for node in unused]
    for node in unused:
        graph.node.remove(node)
