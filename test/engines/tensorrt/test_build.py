"""Builds with a real TensorRT (for RTX), which needs no GPU to build."""

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from onnx import helper

from codesign_ros.engines.tensorrt.build import build_engine
from codesign_ros.engines.tensorrt.request import BuildRequest
from codesign_ros.engines.tensorrt.tensors import EngineTensor, dtype_of
from codesign_ros.engines.tensorrt.versions import load_api
from codesign_ros.types.errors import CodesignError
from support.tensorrt_pieces import convolution, one_node

pytestmark = pytest.mark.skipif(
    not find_spec("tensorrt_rtx_bindings"), reason="TensorRT for RTX is not installed"
)

ANYWHERE = BuildRequest("fp32", gpu=None)


@pytest.fixture(scope="module")
def api():
    return load_api()


def build(api, piece, request=ANYWHERE):
    """Return the engine and what was told meanwhile."""
    told = []
    built = build_engine(api, piece, request, b"", lambda *report: told.append(report))
    return built.engine, told


def error_of(api, piece, request=ANYWHERE):
    with pytest.raises(CodesignError) as caught:
        build(api, piece, request)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 700
    return message


def test_a_piece_becomes_an_engine(api):
    engine, told = build(api, convolution())
    assert engine.startswith(b"vtrt")
    assert len(engine) > 8 * 3 * 3 * 3 * 4  # its weights are in it
    fractions = [fraction for fraction, _ in told if fraction is not None]
    assert len(fractions) > 10
    assert fractions == sorted(fractions)
    assert 0.0 <= fractions[0] < fractions[-1] <= 1.0


def test_the_network_has_the_ends_of_the_piece(api):
    draft = api.parse(convolution(batch="batch"), ANYWHERE)
    assert draft.tensors == (
        EngineTensor("x", True, (-1, 3, 16, 16), np.dtype(np.float32)),
        EngineTensor("y", False, (-1, 8, 16, 16), np.dtype(np.float32)),
    )


@pytest.mark.parametrize("max_batch", [1, 4])
def test_a_free_batch_is_built_for_all_up_to_the_largest(api, max_batch):
    engine, _ = build(api, convolution(batch="batch"), replace(ANYWHERE, max_batch=max_batch))
    assert engine


def test_a_fixed_batch_cannot_be_made_larger(api):
    message = error_of(api, convolution(), replace(ANYWHERE, max_batch=4))
    assert "input 'x'" in message
    assert "(1, 3, 16, 16)" in message
    assert "max_batch" in message


@pytest.mark.parametrize(("operator", "domain"), [("Foo", "acme.com"), ("Det", "")])
def test_an_operator_it_does_not_take_is_named_with_its_node(api, operator, domain):
    relu = helper.make_node("Relu", ["x"], ["positive"], name="before")
    message = error_of(api, one_node(operator, domain, before=[relu]))
    assert f"operator {operator} (node 'the_node')" in message
    assert "another backend" in message


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.99])
def test_a_model_that_was_cut_off_is_refused(api, part):
    whole = convolution()
    message = error_of(api, whole[: int(len(whole) * part)])
    assert message.startswith("TensorRT")


@pytest.mark.parametrize("data", [b"", b"not a model at all", bytes(1000)])
def test_what_is_no_model_is_refused(api, data):
    assert error_of(api, data).startswith("TensorRT cannot read the piece of ONNX")


def test_a_workspace_in_which_nothing_fits_is_named(api):
    message = error_of(api, convolution(), replace(ANYWHERE, workspace_bytes=1))
    assert "tensorrt.workspace_mib" in message


def test_a_dla_core_that_is_not_there_is_named(api):
    message = error_of(api, convolution(), replace(ANYWHERE, precision="fp16", dla_core=0))
    assert "no DLA core 0" in message
    assert "tensorrt.dla_core" in message


def test_out_of_memory_is_said_with_advice(api):
    """TensorRT logs what is wrong and returns None, here as it does on a full GPU."""
    draft = api.parse(convolution(), ANYWHERE)
    error = api._trt.ILogger.ERROR

    def build_serialized_network(network, config):
        api.log.log(error, "Error Code 2: OutOfMemory (Requested size was 68719476736 bytes.)")
        api.log.log(error, "Error Code 2: Internal Error (Assertion engine != nullptr failed.)")

    builder = SimpleNamespace(build_serialized_network=build_serialized_network)
    with pytest.raises(CodesignError, match="out of memory; close other programs") as caught:
        api.serialise(replace(draft, builder=builder))
    assert "tensorrt.workspace_mib" in str(caught.value)
    assert "68719476736" in str(caught.value)


def test_errors_of_one_build_are_not_those_of_the_next(api):
    error_of(api, one_node("Det"))
    message = error_of(api, convolution(), replace(ANYWHERE, workspace_bytes=1))
    assert "Det" not in message


def test_a_type_that_no_crossing_has_is_named(api):
    assert dtype_of(api._trt.DataType.HALF) == np.float16
    with pytest.raises(CodesignError, match="tensor BOOL"):
        dtype_of(api._trt.DataType.BOOL)


@pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="there is a GPU")
def test_an_engine_needs_a_gpu_to_run(api):
    engine, _ = build(api, convolution())
    with pytest.raises(CodesignError, match=r"^(the engine cannot be loaded|TensorRT cannot run)"):
        api.deserialize(engine)
