"""float16: close to fp32, of one type everywhere, and float32 where float16 would do harm."""

import copy
from importlib.util import find_spec

import numpy as np
import onnx
import onnx.numpy_helper
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper

from codesign_ros.bundle import Bundle
from codesign_ros.engines.onnx_model.cpu_kernels import half_for_cpu
from codesign_ros.engines.onnx_model.export import export_onnx
from codesign_ros.engines.onnx_model.float16 import to_fp16
from codesign_ros.engines.onnx_model.pieces import PieceCutter
from codesign_ros.models.reparam import reparameterize
from codesign_ros.pixels.letterbox import normalise
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import Merge, Structure
from support.detectors import tiny_detector
from support.paths import BUNDLES
from support.tiny import TINY_INPUT, tiny_frames

LARGEST = 65504.0  # of float16


def run(piece, tensors):
    session = onnxruntime.InferenceSession(piece, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, tensors), strict=True))


def model_of(nodes, constants, shape=(1, 4), outputs=("y",)):
    """A model of ONNX with float32 input x and outputs, serialised."""
    info = helper.make_tensor_value_info
    made = [info(name, TensorProto.FLOAT, None) for name in outputs]
    graph = helper.make_graph(
        [helper.make_node(kind, *rest[:2], name=f"{rest[1][0]}_{kind}", **dict(*rest[2:]))
         for kind, *rest in nodes],
        "piece",
        [info("x", TensorProto.FLOAT, shape)],
        made,
        [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return onnx.shape_inference.infer_shapes(model, strict_mode=True).SerializeToString()


def types_of(piece):
    """Type of every tensor, as ONNX itself infers it; it refuses a model of mixed types."""
    onnx.checker.check_model(piece, full_check=True)
    model = onnx.load_model_from_string(piece)
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    infos = (*graph.input, *graph.output, *graph.value_info)
    types = {info.name: info.type.tensor_type.elem_type for info in infos}
    types.update((tensor.name, tensor.data_type) for tensor in graph.initializer)
    return {name: TensorProto.DataType.Name(each) for name, each in types.items()}, graph


def types_by_operation(piece, position=0):
    """Type of what each operation takes there."""
    types, graph = types_of(piece)
    taking = [node for node in graph.node if len(node.input) > position]
    return {node.op_type: types[node.input[position]] for node in taking}


@pytest.mark.sample
@pytest.mark.parametrize("structure", [Structure.S3, Structure.S3_SS_S1])
@pytest.mark.parametrize("path", BUNDLES, ids=lambda path: path.stem)
def test_the_shipped_networks_stay_close_to_fp32(path, structure):
    bundle = Bundle.open(path)
    network = reparameterize(bundle.network(), structure, Merge.FOLD)
    exported = export_onnx(network)
    full, half = (PieceCutter(exported, for_cpu=True, float16=half) for half in (False, True))
    image, last = network.crossing(0), len(network.segment_names)
    for frame in bundle.calibration_frames()[:2]:
        tensors = {"image": normalise(frame, bundle.input)}
        expected = run(full.piece(image, network.crossing(last)), tensors)
        for cut in (2, last // 2, last - 1):
            crossing = network.crossing(cut)
            sent = run(half.piece(image, crossing), tensors)
            answer = run(half.piece(crossing, network.crossing(last)), sent)
            assert all(array.dtype == np.float32 for array in (*sent.values(), *answer.values()))
            for name, array in expected.items():
                difference = np.abs(answer[name] - array).max()
                assert 0 < difference < 0.01 * np.abs(array).max()


@pytest.fixture(scope="module")
def detector():
    network = reparameterize(tiny_detector(), Structure.S3_SS_S1, Merge.FOLD)
    return network, PieceCutter(export_onnx(network), for_cpu=False, float16=True)


def test_every_operation_takes_tensors_of_one_type(detector):
    network, cutter = detector
    last = len(network.segment_names)
    for cut in range(1, last):
        for start, stop in ((0, cut), (cut, last)):
            inputs, outputs = network.crossing(start), network.crossing(stop)
            types, graph = types_of(cutter.piece(inputs, outputs))
            assert {types[spec.name] for spec in (*inputs, *outputs)} == {"FLOAT"}
            for node in graph.node:
                if node.op_type in ("Conv", "Relu", "MaxPool", "Concat"):
                    floats = {types[n] for n in node.input if types[n] in ("FLOAT", "FLOAT16")}
                    if node.op_type == "Conv" or floats:
                        assert len(floats) == 1
                if node.op_type == "Conv":
                    assert floats == {"FLOAT16"}


def test_head_and_tail_are_the_whole(detector):
    network, cutter = detector
    image = {"image": normalise(tiny_frames(1, seed=3)[0], TINY_INPUT)}
    last = len(network.segment_names)
    whole = run(cutter.piece(network.crossing(0), network.crossing(last)), image)["boxes"]
    for cut in range(1, last, 3):
        crossing = network.crossing(cut)
        sent = run(cutter.piece(network.crossing(0), crossing), image)
        answer = run(cutter.piece(crossing, network.crossing(last)), sent)["boxes"]
        np.testing.assert_allclose(answer, whole, rtol=2e-3, atol=2e-3 * np.abs(whole).max())


def test_the_cpu_rounds_as_torch_does_in_float16():
    """Unlike ONNX Runtime left alone with float16, which rounds weights and little else."""
    network = reparameterize(tiny_detector(), Structure.S3, Merge.FOLD)
    exported = export_onnx(network)
    frame = normalise(tiny_frames(1, seed=3)[0], TINY_INPUT)
    image, crossing = network.crossing(0), network.crossing(8)
    (name,) = (spec.name for spec in crossing)
    full, half = (
        run(
            PieceCutter(exported, for_cpu=True, float16=half).piece(image, crossing),
            {"image": frame},
        )
        for half in (False, True)
    )
    with torch.no_grad():
        image16 = torch.from_numpy(frame).half()
        made = copy.deepcopy(network).half().run({"image": image16}, 0, 8, [name])
    expected = made[name].float().numpy()
    np.testing.assert_array_equal(half[name], half[name].astype(np.float16))
    between, effect = (
        np.sqrt(np.mean((array - half[name]) ** 2)) for array in (expected, full[name])
    )
    assert 0 < between < 0.5 * effect


@pytest.mark.parametrize("structure", [Structure.S3, Structure.S3_SS_S1])
def test_the_cpu_form_is_close_to_what_it_is_made_of(structure):
    network = reparameterize(tiny_detector(), structure, Merge.FOLD)
    image, boxes = network.crossing(0), network.crossing(len(network.segment_names))
    piece = PieceCutter(export_onnx(network), for_cpu=False, float16=True).piece(image, boxes)
    tensors = {"image": normalise(tiny_frames(1, seed=3)[0], TINY_INPUT)}
    expected = run(piece, tensors)["boxes"]
    for_cpu = half_for_cpu(piece)
    onnx.checker.check_model(for_cpu, full_check=True)
    found = run(for_cpu, tensors)["boxes"]
    difference = found - expected  # random weights pass errors on that training would level
    assert 0 < np.sqrt(np.mean(difference**2)) < 0.01 * np.sqrt(np.mean(expected**2))


def test_boxes_are_made_in_float32(detector):
    network, cutter = detector
    last = len(network.segment_names)
    piece = cutter.piece(network.crossing(last - 1), network.crossing(last))
    assert types_by_operation(piece)["Softmax"] == "FLOAT"
    assert types_by_operation(piece)["Sub"] == "FLOAT"
    sent = {
        spec.name: np.random.default_rng(0).normal(size=spec.shape).astype(np.float32)
        for spec in network.crossing(last - 1)
    }
    boxes = run(piece, sent)["boxes"][0, :4]
    # Not on the grid of float16, on which positions beyond 32 px are 1/32 px apart.
    assert np.mean(boxes != boxes.astype(np.float16)) > 0.9


def test_against_the_same_computed_with_numpy():
    rng = np.random.default_rng(1)
    shapes = {"a": (8, 16), "p": (16,), "b": (16, 8)}
    weights = {name: rng.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()}
    scale, anchor = np.arange(8, dtype=np.float32), np.full(1, 1.1, np.float32)
    piece = model_of(
        [
            ("Gemm", ["x", "a", "p"], ["h"]),
            ("Relu", ["h"], ["r"]),
            ("MatMul", ["r", "b"], ["m"]),
            ("Softmax", ["m"], ["s"]),
            ("Mul", ["s", "scale"], ["e"]),
            ("Sub", ["anchor", "e"], ["y"]),
        ],
        {**weights, "scale": scale, "anchor": anchor},
        (3, 8),
    )
    x = rng.normal(size=(3, 8)).astype(np.float32)
    rounded = {name: w.astype(np.float16).astype(np.float64) for name, w in weights.items()}

    def half(array):
        return array.astype(np.float16).astype(np.float64)

    hidden = half(half(np.maximum(half(x) @ rounded["a"] + rounded["p"], 0)) @ rounded["b"])
    weight = np.exp(hidden - hidden.max(1, keepdims=True))
    expected = 1.1 - weight / weight.sum(1, keepdims=True) * scale
    half_piece = to_fp16(piece)
    # ONNX Runtime leaves some roundings out on its own, and none in the form for the CPU, where
    # float32 sums differ from these and may tip a few over.
    np.testing.assert_allclose(run(half_piece, {"x": x})["y"], expected, atol=5e-3)
    found = run(half_for_cpu(half_piece), {"x": x})["y"]
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert np.median(np.abs(found - expected)) < 1e-6
    assert np.median(np.abs(run(piece, {"x": x})["y"] - expected)) > 1e-5


def test_a_weight_that_is_too_large_is_named():
    weight = np.full((4, 4), -70000.0, np.float32)
    piece = model_of([("MatMul", ["x", "the_weight"], ["y"])], {"the_weight": weight})
    with pytest.raises(CodesignError, match=r"^weight 'the_weight' goes up to 70000 .* 65504"):
        to_fp16(piece)
    weight[:] = LARGEST
    onnx_weight = model_of([("MatMul", ["x", "w"], ["y"])], {"w": weight})
    assert types_by_operation(to_fp16(onnx_weight), 1)["MatMul"] == "FLOAT16"


def test_weights_too_small_become_nothing():
    weight = np.array([[1e-9], [1.0], [-1e-9], [2e-9]], np.float32)
    piece = to_fp16(model_of([("MatMul", ["x", "w"], ["y"])], {"w": weight}))
    x = np.array([[60000, 1, 60000, 60000]], np.float32)
    np.testing.assert_array_equal(run(piece, {"x": x})["y"], [[1.0]])


@pytest.mark.parametrize(
    ("kind", "constant", "type"),
    [
        ("Add", 1e-12, "FLOAT"),  # it is there to keep a division from 0
        ("Min", 3.4e38, "FLOAT"),
        ("Min", np.inf, "FLOAT16"),
        ("Mul", 0.0, "FLOAT16"),
        ("Mul", 0.1, "FLOAT16"),
    ],
)
def test_operations_whose_constant_float16_cannot_hold_stay_float32(kind, constant, type):
    constants = {"c": np.array(constant, np.float32), "w": np.eye(4, dtype=np.float32)}
    nodes = [(kind, ["x", "c"], ["t"]), ("Relu", ["t"], ["u"]), ("MatMul", ["u", "w"], ["y"])]
    found = types_by_operation(to_fp16(model_of(nodes, constants)))
    # What follows stays as it is, up to the next weights.
    assert (found[kind], found["Relu"], found["MatMul"]) == (type, type, "FLOAT16")


def test_constants_of_resize_clip_and_pad():
    floats = {
        "w": np.ones((2, 1, 1, 1), np.float32),
        "scales": np.array([1, 1, 2, 2], np.float32),
        "low": np.array(-1.5, np.float32),
        "high": np.array(6.0, np.float32),
        "pad": np.array(-np.inf, np.float32),
    }
    integers = {"pads": np.array([0, 0, 1, 1, 0, 0, 1, 1])}
    piece = model_of(
        [
            ("Conv", ["x", "w"], ["c"]),
            ("Resize", ["c", "", "scales"], ["r"], {"mode": "nearest"}),
            ("Clip", ["r", "low", "high"], ["k"]),
            ("Pad", ["k", "pads", "pad"], ["p"]),
            ("MaxPool", ["p"], ["y"], {"kernel_shape": [2, 2]}),
        ],
        {**floats, **integers},
        (1, 1, 3, 3),
    )
    half = to_fp16(piece)
    assert types_by_operation(half)["Pad"] == "FLOAT16"
    types, graph = types_of(half)
    by_operation = {node.op_type: [types[n] for n in node.input if n] for node in graph.node}
    assert by_operation["Resize"] == ["FLOAT16", "FLOAT"]
    assert by_operation["Clip"] == ["FLOAT16"] * 3
    assert by_operation["Pad"] == ["FLOAT16", "INT64", "FLOAT16"]
    x = np.arange(-4.0, 5.0, dtype=np.float32).reshape(1, 1, 3, 3)
    np.testing.assert_array_equal(run(half, {"x": x})["y"], run(piece, {"x": x})["y"])


def test_outputs_that_are_used_inside_and_shapes_that_are_computed():
    piece = model_of(
        [
            ("MatMul", ["x", "w"], ["first"]),
            ("Relu", ["first"], ["second"]),
            ("Shape", ["second"], ["shape"]),
            ("Cast", ["shape"], ["numbers"], {"to": TensorProto.FLOAT}),
            ("ReduceMean", ["numbers"], ["mean"], {"keepdims": 0}),
            ("Mul", ["second", "mean"], ["scaled"]),
            ("Cast", ["scaled"], ["whole"], {"to": TensorProto.INT32}),
            ("Cast", ["whole"], ["back"], {"to": TensorProto.FLOAT}),
            ("Sub", ["scaled", "back"], ["third"]),
        ],
        {"w": np.eye(4, dtype=np.float32)},
        outputs=("first", "second", "third"),
    )
    x = np.array([[1, -2, 3, 0.5]], np.float32)
    half = to_fp16(piece)
    types, _ = types_of(half)
    assert {types[name] for name in ("x", "first", "second", "third")} == {"FLOAT"}
    expected = run(piece, {"x": x})
    for form in (half, half_for_cpu(half)):
        for name, array in run(form, {"x": x}).items():
            np.testing.assert_array_equal(array, expected[name])


@pytest.mark.skipif(
    not find_spec("tensorrt_rtx_bindings"), reason="TensorRT for RTX is not installed"
)
def test_tensorrt_takes_every_piece_of_the_detector(detector):
    from codesign_ros.engines.tensorrt.request import BuildRequest
    from codesign_ros.engines.tensorrt.versions import load_api

    network, cutter = detector
    last = len(network.segment_names)
    for cut in range(0, last, 6):
        piece = cutter.piece(network.crossing(cut), network.crossing(last))
        draft = load_api().parse(piece, BuildRequest("fp16", gpu=None))
        layers = [draft.network.get_layer(i) for i in range(draft.network.num_layers)]
        kinds = {x.get_output(0).dtype.name for x in layers if x.type.name == "CONVOLUTION"}
        assert kinds <= {"HALF"}
