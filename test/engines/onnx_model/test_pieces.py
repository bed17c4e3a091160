"""Pieces of a network as ONNX Runtime wants them, and as TensorRT does."""

from importlib.util import find_spec

import numpy as np
import onnx
import onnx.numpy_helper
import pytest

from codesign_ros.engines.onnx_model.export import export_onnx
from codesign_ros.engines.onnx_model.float16 import to_fp16
from codesign_ros.engines.onnx_model.int8 import quantise
from codesign_ros.engines.onnx_model.pieces import PieceCutter
from codesign_ros.engines.ort import OnnxEngine
from codesign_ros.models.reparam import reparameterize
from codesign_ros.pixels.letterbox import normalise
from codesign_ros.types.forms import Merge, Structure
from support.detectors import tiny_detector
from support.tiny import TINY_INPUT, tiny_frames, tiny_network

IMAGES = [normalise(frame, TINY_INPUT) for frame in tiny_frames(3)]
NETWORKS = {"classifier": tiny_network, "detector": tiny_detector}


@pytest.fixture(scope="module", params=NETWORKS)
def made(request):
    """A network, and its fp32 and INT8 models."""
    network = reparameterize(NETWORKS[request.param](), Structure.S3_SS_S1, Merge.FOLD)
    exported = export_onnx(network)
    return network, exported, quantise(exported, IMAGES, per_channel=True)


def ends(network):
    """What head and tail of each cut take and make."""
    last = len(network.segment_names)
    for cut in range(1, last):
        yield network.crossing(0), network.crossing(cut)
        yield network.crossing(cut), network.crossing(last)


def types_of_zero_points(piece):
    graph = onnx.load_model_from_string(piece).graph
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    zeros = [
        constants[node.input[2]]
        for node in graph.node
        if node.op_type in ("QuantizeLinear", "DequantizeLinear")
    ]
    assert not any(zero.any() for zero in zeros)
    return {zero.dtype.name for zero in zeros}


def test_for_tensorrt_everything_is_int8_and_biases_are_float(made):
    network, _, quantised = made
    cutter = PieceCutter(quantised, for_cpu=False)
    for inputs, outputs in ends(network):
        piece = cutter.piece(inputs, outputs)
        graph = onnx.load_model_from_string(piece).graph
        assert types_of_zero_points(piece) <= {"int8"}
        assert not [t.name for t in graph.initializer if t.data_type == onnx.TensorProto.INT32]
        onnx.checker.check_model(piece, full_check=True)


def test_for_the_cpu_what_is_positive_is_uint8(made):
    network, _, quantised = made
    last = len(network.segment_names)
    piece = PieceCutter(quantised, for_cpu=True).piece(network.crossing(0), network.crossing(last))
    assert types_of_zero_points(piece) == {"int8", "uint8"}


@pytest.mark.parametrize("for_cpu", [False, True])
def test_head_and_tail_are_the_whole_in_both_forms(made, for_cpu):
    network, _, quantised = made
    cutter = PieceCutter(quantised, for_cpu=for_cpu)
    last = len(network.segment_names)

    def run(start, stop, tensors):
        inputs, outputs = network.crossing(start), network.crossing(stop)
        return OnnxEngine(cutter.piece(inputs, outputs), inputs, outputs, 1).run(tensors)

    whole = run(0, last, {"image": IMAGES[0]})
    for cut in range(1, last, 4):
        answer = run(cut, last, run(0, cut, {"image": IMAGES[0]}))
        for name, array in whole.items():
            np.testing.assert_array_equal(answer[name], array, err_msg=f"cut {cut}")


def test_an_fp32_network_is_the_same_for_both(made):
    network, exported, _ = made
    for inputs, outputs in ends(network):
        pieces = {
            PieceCutter(exported, for_cpu=for_cpu).piece(inputs, outputs)
            for for_cpu in (False, True)
        }
        assert len(pieces) == 1


def test_halves_are_pieces_made_float16(made):
    network, exported, _ = made
    inputs, outputs = network.crossing(2), network.crossing(5)
    piece = PieceCutter(exported, for_cpu=True).piece(inputs, outputs)
    halved = PieceCutter(exported, for_cpu=False, float16=True).piece(inputs, outputs)
    assert halved == to_fp16(piece)
    assert len(halved) < 0.6 * len(piece)


@pytest.mark.skipif(
    not find_spec("tensorrt_rtx_bindings"), reason="TensorRT for RTX is not installed"
)
@pytest.mark.sample
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8-channel"])
def test_tensorrt_reads_every_piece(made, precision):
    from codesign_ros.engines.tensorrt.request import BuildRequest
    from codesign_ros.engines.tensorrt.versions import load_api

    network, exported, quantised = made
    model = quantised if precision.startswith("int8") else exported
    cutter = PieceCutter(model, for_cpu=False, float16=precision == "fp16")
    for inputs, outputs in ends(network):
        draft = load_api().parse(cutter.piece(inputs, outputs), BuildRequest(precision, gpu=None))
        found = {tensor.name: (tensor.shape, tensor.dtype) for tensor in draft.tensors}
        assert found == {s.name: (s.shape, np.dtype(s.dtype)) for s in (*inputs, *outputs)}
