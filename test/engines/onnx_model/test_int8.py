"""INT8: which tensors are rounded, that the answer stays close, and that cuts change nothing."""

import os
from collections import Counter

import numpy as np
import onnx
import onnx.numpy_helper
import pytest
import torch
from torch import nn

from codesign_ros.engines.onnx_model.cpu_kernels import for_cpu
from codesign_ros.engines.onnx_model.export import export_onnx
from codesign_ros.engines.onnx_model.int8 import quantise
from codesign_ros.engines.onnx_model.pieces import PieceCutter
from codesign_ros.engines.ort import OnnxEngine
from codesign_ros.models.network import Network, Segment
from codesign_ros.models.reparam import reparameterize
from codesign_ros.pixels.letterbox import normalise
from codesign_ros.types.forms import Merge, Structure
from codesign_ros.types.tensors import InputSpec
from support.detectors import tiny_detector
from support.tiny import TINY_INPUT, tiny_frames, tiny_network

IMAGES = [normalise(frame, TINY_INPUT) for frame in tiny_frames(4)]
OTHER = normalise(tiny_frames(1, seed=77)[0], TINY_INPUT)


class Quantised:
    """A network, re-parameterised, exported and quantised."""

    def __init__(self, network, structure=Structure.S3, per_channel=True, images=IMAGES):
        self.network = reparameterize(network, structure, Merge.FOLD)
        self.exported = export_onnx(self.network)
        self.model = quantise(self.exported, images, per_channel=per_channel)
        self.graph = onnx.load_model_from_string(self.model).graph
        self.cutter = PieceCutter(self.model, for_cpu=True)
        self.image = self.network.crossing(0)
        self.output = self.network.crossing(len(self.network.segment_names))

    def engine(self, inputs, outputs):
        return OnnxEngine(self.cutter.piece(inputs, outputs), inputs, outputs, threads=1)

    def whole(self, image=OTHER):
        return self.engine(self.image, self.output).run({"image": image})[self.output[0].name]

    def cut(self, cut, image=OTHER):
        crossing = self.network.crossing(cut)
        sent = self.engine(self.image, crossing).run({"image": image})
        assert {s.name: s.shape for s in crossing} == {n: a.shape for n, a in sent.items()}
        assert all(array.dtype == np.float32 for array in sent.values())
        return self.engine(crossing, self.output).run(sent)[self.output[0].name], sent

    def rounded(self, operation, position):
        """How often a kind of operation takes that input rounded, and how often not."""
        rounded = {n.output[0] for n in self.graph.node if n.op_type == "DequantizeLinear"}
        nodes = [node for node in self.graph.node if node.op_type == operation]
        return Counter(node.input[position] in rounded for node in nodes)


@pytest.fixture(scope="module")
def classifier():
    return Quantised(tiny_network(), Structure.S3_SS)


@pytest.fixture(scope="module")
def detector():
    return Quantised(tiny_detector(), Structure.S3_SS_S1)


def test_everything_is_symmetric_int8_and_biases_are_not_rounded(classifier, detector):
    for graph in (classifier.graph, detector.graph):
        constants = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
        pairs = [n for n in graph.node if n.op_type in ("QuantizeLinear", "DequantizeLinear")]
        assert len(pairs) > 20
        for node in pairs:
            zero = constants[node.input[2]]
            assert zero.dtype == np.int8
            assert not zero.any()
        # No bias is rounded.
        rounded = {node.output[0] for node in pairs}
        biases = [node.input[2] for node in graph.node if node.op_type in ("Conv", "Gemm")]
        assert len(biases) > 10
        assert rounded.isdisjoint(biases)


def test_identity_and_sums_stay_float(classifier):
    kinds = Counter(node.op_type for node in classifier.graph.node)
    assert kinds["Mul"] > 0
    constants = {t.name for t in classifier.graph.initializer}
    for node in classifier.graph.node:
        if node.op_type == "Mul":  # the scale itself is not rounded
            assert constants & set(node.input)


def test_what_follows_the_last_weights_is_float(classifier, detector):
    assert classifier.rounded("Gemm", 1) == {False: 1}
    # The six last convolutions of the head: boxes and classes at three strides.
    assert detector.rounded("Conv", 1)[False] == 6
    assert detector.rounded("Conv", 1)[True] > 40
    for kind in ("Softmax", "Sigmoid", "ReduceSum"):
        assert detector.rounded(kind, 0) == {False: 1}


def test_steps_of_weights_by_hand():
    for per_channel in (False, True):
        made = Quantised(tiny_network(), per_channel=per_channel)
        constants = {t.name: onnx.numpy_helper.to_array(t) for t in made.graph.initializer}
        weights = {
            node.input[0]: constants[node.input[1]]
            for node in made.graph.node
            if node.op_type == "QuantizeLinear" and node.input[0] in constants
        }
        assert len(weights) == 13
        for name, step in weights.items():
            kernel = np.abs(constants[name])
            largest = kernel.max(axis=(1, 2, 3)) if per_channel else kernel.max()
            # int8 symmetric: from -127 to 127, or to 128 the other way.
            np.testing.assert_allclose(step, largest / 127.5, rtol=0.01)


@pytest.mark.parametrize("made", ["classifier", "detector"])
def test_head_and_tail_are_the_whole_at_every_cut(made, request):
    made = request.getfixturevalue(made)
    whole = made.whole()
    several = 0
    for cut in range(1, len(made.network.segment_names)):
        output, sent = made.cut(cut)
        several += len(sent) > 1
        np.testing.assert_array_equal(output, whole, err_msg=f"cut {cut}")
    if made.network.segment_names[-1] == "boxes":
        assert several > 5


@pytest.mark.parametrize("made", ["classifier", "detector"])
def test_answer_stays_close_to_fp32(made, request):
    made = request.getfixturevalue(made)
    with torch.no_grad():
        expected = made.network(torch.from_numpy(OTHER)).numpy()
    whole = made.whole()
    assert whole.shape == expected.shape
    assert not np.array_equal(whole, expected)
    # Random weights pass errors on that training would have levelled.
    assert np.corrcoef(whole.ravel(), expected.ravel())[0, 1] > 0.95


def test_crossing_tensors_hold_at_most_128_steps(classifier):
    for cut in (1, 5, 10):
        _, sent = classifier.cut(cut, IMAGES[0])
        (array,) = sent.values()
        values = np.unique(array)
        assert values[0] == 0  # behind a ReLU
        assert 16 < len(values) <= 128  # the frame is one of those that set the range
        steps = values / np.diff(values).min()
        np.testing.assert_allclose(steps, np.round(steps), atol=1e-3)


def test_same_arguments_same_bytes(classifier):
    assert quantise(classifier.exported, IMAGES, per_channel=True) == classifier.model
    assert quantise(classifier.exported, IMAGES[:1], per_channel=True) != classifier.model
    assert quantise(classifier.exported, IMAGES, per_channel=False) != classifier.model


def test_cpu_form_only_changes_tensors_without_negative_numbers(detector):
    model = onnx.load_model_from_string(detector.model)
    for_cpu(model)
    before = {n.name: n for n in detector.graph.node}
    zeros = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    kinds = Counter()
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear" and node.input[0] not in zeros:
            assert node.input[:2] == before[node.name].input[:2]  # the same step
            kinds[zeros[node.input[2]].dtype.name, node.input[0] == "image"] += 1
    assert kinds["int8", True] == 1
    # The sums in front of a ReLU take what convolutions make, which may be negative.
    assert kinds["int8", False] > 5
    assert kinds["uint8", False] > 40


def test_integer_kernels_run(classifier, tmp_path):
    """Every convolution of the ONNX Runtime session is an integer one."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    piece = classifier.cutter.piece(classifier.network.crossing(2), classifier.output)
    onnxruntime.InferenceSession(piece, options, providers=["CPUExecutionProvider"])
    kinds = Counter(n.op_type for n in onnx.load(tmp_path / "optimised.onnx").graph.node)
    assert kinds["QLinearConv"] > 5
    assert not {"Conv", "FusedConv"} & kinds.keys()


class _Wide(nn.Module):
    """Operations that have no 8-bit form here, and activations other than ReLU."""

    def forward(self, x):
        return torch.sin(x) * torch.sigmoid(x)


def test_segments_of_single_operations_and_operations_without_an_8_bit_form():
    torch.manual_seed(0)
    network = Network(
        [
            ("conv", nn.Conv2d(3, 8, 3, padding=1)),
            ("relu", nn.ReLU()),
            ("wide", _Wide()),
            ("conv2", nn.Conv2d(8, 8, 3, padding=1)),
            ("relu6", nn.ReLU6()),
            Segment("sum", _Sum(), ("relu", "relu6")),
            ("conv3", nn.Conv2d(8, 8, 1)),
            ("end", nn.Conv2d(8, 2, 1)),
        ],
        InputSpec(16, 16),
    ).eval()
    rng = np.random.default_rng(0)
    images = [rng.normal(size=(1, 3, 16, 16)).astype(np.float32) for _ in range(3)]
    made = Quantised(network, images=images)
    whole = made.whole(images[0])
    for cut in range(1, 8):
        np.testing.assert_array_equal(made.cut(cut, images[0])[0], whole, err_msg=f"cut {cut}")
    with torch.no_grad():
        expected = network(torch.from_numpy(images[0])).numpy()
    assert np.abs(whole - expected).max() < 0.05 * np.abs(expected).max()


class _Sum(nn.Module):
    def forward(self, a, b):
        return a + b


def test_nothing_is_printed(classifier, capfd, caplog):
    quantise(classifier.exported, IMAGES[:1], per_channel=True)
    classifier.cut(3)
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


def test_calibration_keeps_to_the_processors_that_it_may_use(classifier):
    allowed = os.sched_getaffinity(0)
    if len(allowed) < 2:
        pytest.skip("one processor is all that there is")
    before = set(os.listdir("/proc/self/task"))
    threads = []

    def images():
        for thread in set(os.listdir("/proc/self/task")) - before:
            threads.append(os.sched_getaffinity(int(thread)))
        yield IMAGES[0]

    os.sched_setaffinity(0, {min(allowed)})
    try:
        quantise(classifier.exported, images(), per_channel=True)
    finally:
        os.sched_setaffinity(0, allowed)
    assert all(each == {min(allowed)} for each in threads)
