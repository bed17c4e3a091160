import copy

import numpy as np
import onnx
import pytest
import torch

from codesign_ros.bundle import BundleError
from codesign_ros.engines.base import EngineKey
from codesign_ros.engines.factory import open_backend
from codesign_ros.engines.onnx_model.free_batch import with_free_batch
from codesign_ros.pixels.letterbox import normalise
from codesign_ros.types.forms import BRANCH_STRUCTURES
from codesign_ros.types.tensors import TensorSpec
from support.tiny import tiny_frames
from support.tiny_neck import tiny_neck, tiny_tail, write_tiny_neck
from support.two_maps import LATER

ON_CPUS = ("onnxruntime", "torch")
CUT = 3
KINDS = ("one map", "two maps", "own tail")


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def plain(request, kind):
    """A network, and where its neck's decoders' maps go on."""
    if kind == "two maps":
        return request.getfixturevalue("two_maps_bundle"), LATER
    return request.getfixturevalue("tiny_bundle"), 5


@pytest.fixture(scope="module")
def bundle(plain, kind, tmp_path_factory):
    path = tmp_path_factory.mktemp("neck") / "necked.bundle"
    network, enter = plain
    return write_tiny_neck(path, network, CUT, enter, own_tail=kind == "own tail")


@pytest.fixture(scope="module", params=ON_CPUS)
def factory(request, bundle, engine_cache):
    return open_backend(bundle, request.param, engine_cache)


@pytest.fixture(scope="module")
def frame():
    return tiny_frames(1, seed=5)[0]


@pytest.fixture(scope="module")
def expected(plain, kind, frame):
    """Latent and output by the trained network itself, in pieces, with the neck as it was made."""
    trained, enter = plain
    network = trained.network()
    own = {name: torch.from_numpy(array) for name, array in tiny_tail(trained, enter).items()}
    behind = copy.deepcopy(network)
    if kind == "own tail":
        behind.load_state_dict(own, strict=False)
    _, neck, _ = tiny_neck(trained, CUT, enter)
    sources, targets = ([spec.name for spec in network.crossing(cut)] for cut in (CUT, enter))
    image = {"image": torch.from_numpy(normalise(frame, trained.input))}
    with torch.inference_mode():
        made = network.run(image, 0, CUT, sources)
        latent = neck.encoder(*(made[name] for name in sources))
        last = len(network.segment_names)
        tensors = dict(zip(targets, neck.decode(latent), strict=True))
        (answer,) = behind.run(tensors, enter, last, network.output_names).values()
        return latent.numpy(), answer.numpy()


def answer(tail, tensors):
    (found,) = tail.run(tensors).values()
    return found


@pytest.mark.parametrize("structure", BRANCH_STRUCTURES)
def test_head_neck_and_tail_give_what_the_pieces_give(factory, bundle, frame, expected, structure):
    latent, output = expected
    head = factory.build(EngineKey("head", CUT, structure, neck=True))
    tail = factory.build(EngineKey("tail", CUT, structure, neck=True))
    assert head.outputs == tail.inputs == (TensorSpec("neck", latent.shape),)
    sent = head.run({"image": frame})
    np.testing.assert_allclose(sent["neck"], latent, atol=1e-4)
    np.testing.assert_allclose(answer(tail, sent), output, atol=1e-4)


def test_without_the_neck_the_cut_is_as_ever(factory, bundle, frame):
    plain = EngineKey("head", CUT)
    assert plain != EngineKey("head", CUT, neck=True)
    assert factory.build(plain).outputs == bundle.crossings[CUT]
    tail = factory.build(EngineKey("tail", CUT))
    made = factory.build(plain).run({"image": frame})
    whole = answer(factory.build(EngineKey("tail", 0)), {"image": frame})
    np.testing.assert_allclose(answer(tail, made), whole, atol=1e-5)


@pytest.mark.parametrize("part", ["head", "tail"])
def test_a_cut_without_a_neck(factory, part):
    with pytest.raises(BundleError, match="has no neck at cut 2"):
        factory.build(EngineKey(part, 2, neck=True))


@pytest.mark.parametrize("precision", ["fp16", "int8-tensor", "int8-channel"])
def test_in_other_numbers_the_halves_are_near(bundle, engine_cache, frame, expected, precision):
    factory = open_backend(bundle, "onnxruntime", engine_cache)
    head, tail = (
        factory.build(EngineKey(part, CUT, precision=precision, neck=True))
        for part in ("head", "tail")
    )
    sent = head.run({"image": frame})
    latent, output = expected
    for found, right in ((sent["neck"], latent), (answer(tail, sent), output)):
        assert not np.array_equal(found, right)
        assert np.linalg.norm(found - right) < 0.2 * np.linalg.norm(right)


def test_the_neck_itself_is_not_rounded_to_8_bits(bundle, engine_cache):
    factory = open_backend(bundle, "onnxruntime", engine_cache)
    weights = {
        name: tensor.numpy() for name, tensor in bundle.neck_module(CUT).state_dict().items()
    }
    for part, side in (("head", "encoder"), ("tail", "decoder")):
        key = EngineKey(part, CUT, precision="int8-channel", neck=True)
        graph = onnx.load_model_from_string(factory._piece(key)).graph
        makers = {name: node for node in graph.node for name in node.output}
        stored = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
        in_float = [
            stored[node.input[1]]
            for node in graph.node
            if node.op_type == "Conv" and node.input[1] in stored
        ]
        kernels = [w for name, w in weights.items() if name.startswith(side) and w.ndim == 4]
        assert kernels
        for kernel in kernels:
            assert any(np.array_equal(kernel, each) for each in in_float)
        # And the rest is.
        rounded = [
            node
            for node in graph.node
            if node.op_type == "Conv"
            and node.input[1] in makers
            and makers[node.input[1]].op_type == "DequantizeLinear"
        ]
        assert rounded


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8-channel"])
def test_pieces_with_a_neck_take_several_frames(bundle, engine_cache, precision):
    """As TensorRT's builder wants them."""
    factory = open_backend(bundle, "onnxruntime", engine_cache)
    for part in ("head", "tail"):
        key = EngineKey(part, CUT, precision=precision, neck=True)
        freed = onnx.load_model_from_string(with_free_batch(factory._piece(key)))
        dimensions = [
            info.type.tensor_type.shape.dim[0].dim_param
            for info in (*freed.graph.input, *freed.graph.output)
        ]
        assert dimensions == ["batch", "batch"]
