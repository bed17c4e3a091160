"""A free batch: several frames give what each gives alone, or the operation that mixes is named."""

from importlib.util import find_spec

import numpy as np
import onnx
import onnx.numpy_helper
import onnxruntime
import pytest
import torch
import torchvision
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from codesign_ros.bundle import Bundle
from codesign_ros.engines.onnx_model.forms import as_onnx
from codesign_ros.engines.onnx_model.free_batch import with_free_batch
from codesign_ros.engines.onnx_model.pieces import PieceCutter
from codesign_ros.models.graph.importing import import_network
from codesign_ros.pixels.letterbox import normalise
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import Merge, Structure
from codesign_ros.types.tensors import InputSpec
from support.cut_checks import trained
from support.detectors import tiny_detector
from support.paths import BUNDLES
from support.tiny import TINY_INPUT, tiny_frames, tiny_network

STRUCTURES = tuple(Structure)
PRECISIONS = ("fp32", "fp16", "int8-tensor", "int8-channel")
FRAMES = 3
HAS_TENSORRT = bool(find_spec("tensorrt_rtx_bindings"))


def run(piece, tensors):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(piece, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, tensors), strict=True))


def joined(several):
    return {name: np.concatenate([each[name] for each in several]) for name in several[0]}


def check_pieces(network, cutter, cuts, images, tolerance=1e-6):
    """Hold head and tail of each cut on several frames against the same on each of them."""
    last = len(network.segment_names)
    for cut in cuts:
        sent = [{"image": image} for image in images]
        for start, stop in ((0, cut), (cut, last)):
            piece = cutter.piece(network.crossing(start), network.crossing(stop))
            alone = [run(piece, tensors) for tensors in sent]
            together = run(with_free_batch(piece), joined(sent))
            for name, array in joined(alone).items():
                limit = tolerance * np.abs(array).max()
                np.testing.assert_allclose(
                    together[name], array, rtol=0, atol=limit, err_msg=f"{name} at cut {cut}"
                )
            sent = alone


def cutter_of(network, structure, precision, frames, *, for_cpu=True):
    model = as_onnx(network, structure, Merge.FOLD, precision, lambda: frames)
    return PieceCutter(model, for_cpu=for_cpu, float16=precision == "fp16")


@pytest.fixture(scope="module", params=[tiny_network, tiny_detector])
def network(request):
    return request.param()


@pytest.mark.sample
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("structure", STRUCTURES)
def test_several_frames_are_each_by_itself(network, structure, precision):
    cutter = cutter_of(network, structure, precision, tiny_frames(3))
    images = [normalise(frame, TINY_INPUT) for frame in tiny_frames(FRAMES, seed=9)]
    last = len(network.segment_names)
    check_pieces(network, cutter, (1, last // 2, last - 1), images)


@pytest.mark.sample
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8-channel"])
@pytest.mark.parametrize("path", BUNDLES, ids=lambda path: path.stem)
def test_the_shipped_networks(path, precision):
    bundle = Bundle.open(path)
    network = bundle.network()
    frames = bundle.calibration_frames()
    cutter = cutter_of(network, Structure.S3_SS_S1, precision, frames[:2])
    images = [normalise(frame, bundle.input) for frame in frames[-FRAMES:]]
    check_pieces(network, cutter, (len(network.segment_names) // 2,), images)


@pytest.mark.parametrize(
    "name",
    [
        "shufflenet_v2_x0_5",
        "squeezenet1_1",
        pytest.param("mobilenet_v3_small", marks=pytest.mark.test_all),
        pytest.param("googlenet", marks=pytest.mark.test_all),
    ],
)
def test_networks_of_torchvision(name):
    torch.manual_seed(0)
    args = {"init_weights": False} if name == "googlenet" else {}
    spec = InputSpec(64, 64)
    module = trained(torchvision.models.get_model(name, weights=None, **args))
    network, _ = import_network(module, spec)
    rng = np.random.default_rng(0)
    images = [rng.normal(size=(1, 3, 64, 64)).astype(np.float32) for _ in range(FRAMES)]
    last = len(network.segment_names)
    # Sums in another order differ in float32's last bit, which float16 may round to its own.
    for precision, tolerance in (("fp32", 1e-6), ("fp16", 1e-3)):
        cutter = cutter_of(network, Structure.S3, precision, None)
        check_pieces(network, cutter, (1, last // 2, last - 1), images, tolerance)


def test_shapes_say_that_the_batch_is_free(network):
    last = len(network.segment_names)
    piece = cutter_of(network, Structure.S3, "fp32", None).piece(
        network.crossing(4), network.crossing(last)
    )
    free = with_free_batch(piece)
    onnx.checker.check_model(free, full_check=True)
    before, after = (onnx.load_model_from_string(model).graph for model in (piece, free))
    for one, several in zip(
        (*before.input, *before.output), (*after.input, *after.output), strict=True
    ):
        dims = [each.type.tensor_type.shape.dim for each in (one, several)]
        assert dims[1][0].dim_param == "batch"
        assert [d.dim_value for d in dims[0]][1:] == [d.dim_value for d in dims[1]][1:]
    assert not after.value_info
    # What the weights are is none of its business.
    assert {t.name for t in after.initializer} >= {
        t.name for t in before.initializer if t.data_type == TensorProto.FLOAT
    }


@pytest.mark.skipif(not HAS_TENSORRT, reason="TensorRT for RTX is not installed")
@pytest.mark.sample
@pytest.mark.parametrize("precision", PRECISIONS)
def test_tensorrt_builds_it_for_up_to_four_frames(network, precision):
    from codesign_ros.engines.tensorrt.request import BuildRequest
    from codesign_ros.engines.tensorrt.versions import load_api

    cutter = cutter_of(network, Structure.S3_SS_S1, precision, tiny_frames(3), for_cpu=False)
    last = len(network.segment_names)
    request = BuildRequest(precision, max_batch=4, gpu=None)
    for start, stop in ((0, 3), (3, last), (last - 1, last)):
        inputs, outputs = network.crossing(start), network.crossing(stop)
        api = load_api()
        draft = api.parse(with_free_batch(cutter.piece(inputs, outputs)), request)
        found = {tensor.name: tensor.shape for tensor in draft.tensors}
        assert found == {spec.name: (-1, *spec.shape[1:]) for spec in (*inputs, *outputs)}
        api.configure(draft, request, lambda fraction, text: None)
        assert len(api.serialise(draft)) > 1000


def model_of(nodes, constants, shape):
    """A model of ONNX that takes x and makes y, serialised."""
    graph = helper.make_graph(
        [helper.make_node(kind, takes, makes, name=f"{makes[0]}_{kind}", **attributes)
         for kind, takes, makes, attributes in nodes],
        "piece",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return onnx.shape_inference.infer_shapes(model, strict_mode=True).SerializeToString()


def integers(*numbers):
    return np.array(numbers, np.int64)


def floats(*shape):
    return np.arange(1, np.prod(shape, dtype=int) + 1, dtype=np.float32).reshape(shape)


SHAPE = (1, 3, 4, 5)
MIXING = [
    ("Reshape", [integers(3, 4, 5)], {}, "no dimension of their own"),
    ("Reshape", [integers(-1, 5)], {}, "no dimension of their own"),
    ("Flatten", [], {"axis": 2}, "flattens the frames"),
    ("Flatten", [], {"axis": 0}, "flattens the frames"),
    ("Transpose", [], {"perm": [1, 0, 2, 3]}, "moves the frames"),
    ("Transpose", [], {}, "moves the frames"),
    ("Squeeze", [integers(0)], {}, "moves the frames"),
    ("Squeeze", [integers(-4)], {}, "moves the frames"),
    ("Squeeze", [], {}, "every dimension of 1"),
    ("Unsqueeze", [integers(0)], {}, "moves the frames"),
    ("ReduceMean", [], {"axes": [0, 2]}, "along the frames"),
    ("ReduceMean", [], {"axes": [-4]}, "along the frames"),
    ("ReduceMean", [], {}, "along the frames"),
    ("ReduceSum", [integers(0)], {}, "along the frames"),
    ("Softmax", [], {"axis": 0}, "along the frames"),
    ("Concat", ["x"], {"axis": 0}, "along the frames"),
    ("Concat", [floats(1, 3, 4, 5)], {"axis": 1}, "a constant beside the frames"),
    ("Gather", [integers(0)], {"axis": 0}, "along the frames"),
    ("Slice", [integers(0), integers(1), integers(0)], {}, "some of the frames"),
    ("Slice", [integers(0), integers(1)], {}, "some of the frames"),
    ("Pad", [integers(0, 0, 0, 0, 1, 0, 0, 0)], {}, "beside the frames"),
    ("Tile", [integers(2, 1, 1, 1)], {}, "repeats frames"),
    ("Expand", [integers(2, 3, 4, 5)], {}, "repeats frames"),
    ("Expand", [integers(2, 1, 3, 4, 5)], {}, "another dimension"),
    ("Add", [floats(2, 3, 4, 5)], {}, "a number for each frame"),
    ("Add", [floats(7, 1, 1, 1, 1)], {}, "another dimension"),
    ("Resize", ["", np.array([2, 1, 1, 1], np.float32)], {}, "other frames"),
    ("MatMul", [floats(2, 3, 5, 4)], {}, "a number for each frame"),
    ("Einsum", [], {"equation": "abcd->bacd"}, "not known to keep frames apart"),
]


@pytest.mark.parametrize(("kind", "others", "attributes", "why"), MIXING)
def test_what_mixes_frames_is_named(kind, others, attributes, why):
    names = [each if isinstance(each, str) else f"c{i}" for i, each in enumerate(others)]
    constants = dict(zip(names, others, strict=True))
    constants = {name: each for name, each in constants.items() if not isinstance(each, str)}
    nodes = [(kind, ["x", *names], ["y"], attributes)]
    with pytest.raises(CodesignError, match=rf"^{kind} 'y_{kind}' .*{why}") as error:
        with_free_batch(model_of(nodes, constants, SHAPE))
    assert "tensorrt.max_batch" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("nodes", "constants", "shape", "why"),
    [
        ([("Gemm", ["x", "w"], ["y"], {"transA": 1})], {"w": floats(1, 2)}, (1, 4), "along"),
        ([("Gemm", ["w", "x"], ["y"], {})], {"w": floats(2, 1)}, (1, 4), "weights are expected"),
        ([("MatMul", ["x", "x"], ["y"], {})], {}, (1, 1), "along"),
        ([("Conv", ["w", "x"], ["y"], {})], {"w": floats(1, 3, 4, 5)}, SHAPE, "weights are"),
        ([("Identity", ["w"], ["y"], {})], {"w": floats(1, 4)}, (1, 4), "does not depend"),
        (
            [("BatchNormalization", ["x", *"wwww"], ["y", "m", "v"], {"training_mode": 1})],
            {"w": floats(3)},
            SHAPE,
            "along",
        ),
    ],
)
def test_frames_where_none_belong(nodes, constants, shape, why):
    with pytest.raises(CodesignError, match=why):
        with_free_batch(model_of(nodes, constants, shape))


def axes_of(rank):
    return st.integers(-rank, rank - 1)


@st.composite
def chains(draw):
    """Operations in a row, on a tensor of one frame, some of which mix frames."""
    sizes = st.integers(1, 3)
    shape = (1, draw(sizes), draw(sizes), 2)
    nodes, constants, at = [], {}, shape
    for step in range(draw(st.integers(1, 4))):
        source, made = ("x" if step == 0 else f"t{step}"), f"t{step + 1}"
        rank = len(at)
        if rank == 0:
            break
        axis = draw(axes_of(rank))
        kind = draw(st.sampled_from(
            ["Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "ReduceMean", "Softmax",
             "Concat", "Gather", "Slice", "Pad", "Tile", "Expand", "Add", "Mul", "MatMul", "Relu",
             "Dynamic"]
        ))  # fmt: skip
        given = None  # a constant that it takes
        attributes, takes = {}, [source]
        if kind == "Dynamic":  # as torch exports a view that takes sizes over
            names = [f"{made}_{i}" for i in range(3)]
            constants |= {f"{made}_from": integers(0), f"{made}_to": integers(1)}
            constants[f"{made}_rest"] = integers(-1)
            nodes.append(("Shape", [source], [names[0]], {}))
            nodes.append(("Slice", [names[0], f"{made}_from", f"{made}_to"], [names[1]], {}))
            nodes.append(("Concat", [names[1], f"{made}_rest"], [names[2]], {"axis": 0}))
            kind, takes = "Reshape", [source, names[2]]
        elif kind == "Reshape":
            target = list(draw(st.permutations(at)))
            if draw(st.booleans()):
                target[draw(st.integers(0, rank - 1))] = -1
            given = integers(*target)
        elif kind == "Flatten":
            attributes = {"axis": draw(st.integers(0, rank))}
        elif kind == "Transpose":
            attributes = {"perm": list(draw(st.permutations(range(rank))))}
        elif kind == "Squeeze":
            ones = [i for i, size in enumerate(at) if size == 1]
            assume(ones)
            given = integers(draw(st.sampled_from(ones)))
        elif kind == "Unsqueeze":
            given = integers(draw(st.integers(0, rank)))
        elif kind == "ReduceMean":
            attributes = {"axes": [axis], "keepdims": draw(st.integers(0, 1))}
        elif kind == "Softmax":
            attributes = {"axis": axis}
        elif kind == "Concat":
            takes, attributes = [source, source], {"axis": axis}
        elif kind == "Gather":
            given, attributes = integers(*[0] * draw(st.integers(1, 2))), {"axis": axis}
        elif kind == "Slice":
            constants[f"{made}_to"] = integers(draw(st.sampled_from([1, 2**63 - 1])))
            constants[f"{made}_axes"] = integers(axis)
            constants[f"{made}_from"] = integers(0)
            takes += [f"{made}_from", f"{made}_to", f"{made}_axes"]
        elif kind == "Pad":
            pads = [0] * (2 * rank)
            pads[axis] = 1
            given = integers(*pads)
        elif kind == "Tile":
            given = integers(*[2 if i == axis % rank else 1 for i in range(rank)])
        elif kind == "Expand":
            given = integers(*[2 if s == 1 and i == axis % rank else 1 for i, s in enumerate(at)])
        elif kind in ("Add", "Mul"):
            kept = at[draw(st.integers(0, rank)) :]
            given = floats(*kept)
            if draw(st.booleans()):
                given = np.expand_dims(given, 0)
        elif kind == "MatMul":
            assume(rank >= 2)
            if draw(st.booleans()):
                given = floats(at[-1], 2)
            else:
                perm = [*range(rank - 2), rank - 1, rank - 2]
                nodes.append(("Transpose", [source], [f"{made}_t"], {"perm": perm}))
                takes = [source, f"{made}_t"]
        if given is not None:
            constants[f"{made}_given"] = given
            takes.append(f"{made}_given")
        nodes.append((kind, takes, [made], attributes))
        alone = run(
            model_of([*nodes, ("Identity", [made], ["y"], {})], constants, shape),
            {"x": np.zeros(shape, np.float32)},
        )
        at = alone["y"].shape
    return model_of([*nodes, ("Identity", [made], ["y"], {})], constants, shape), shape


@given(chains(), st.integers(0, 100))
@settings(max_examples=150, deadline=None)
def test_whatever_is_let_through_keeps_frames_apart(chain, seed):
    piece, shape = chain
    try:
        free = with_free_batch(piece)
    except CodesignError:
        event("refused")
        return
    event("let through")
    rng = np.random.default_rng(seed)
    frames = [{"x": rng.normal(size=shape).astype(np.float32)} for _ in range(FRAMES)]
    expected = joined([run(piece, frame) for frame in frames])
    np.testing.assert_allclose(run(free, joined(frames))["y"], expected["y"], rtol=1e-5, atol=1e-6)
