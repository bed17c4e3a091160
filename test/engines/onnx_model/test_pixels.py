"""Pieces that begin with pixels: the same numbers as from the normalised frame, to the bit."""

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from codesign_ros.engines.frames import FrameEngine
from codesign_ros.engines.onnx_model.export import export_onnx
from codesign_ros.engines.onnx_model.int8 import quantise
from codesign_ros.engines.onnx_model.pieces import PieceCutter
from codesign_ros.engines.onnx_model.pixels import PixelCodes, code_tables, pixel_piece
from codesign_ros.engines.ort import OnnxEngine
from codesign_ros.models.reparam import reparameterize
from codesign_ros.pixels.letterbox import normalise
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import Merge, Structure
from codesign_ros.types.tensors import InputSpec
from support.detectors import tiny_detector
from support.tiny import TINY_INPUT, tiny_frames, tiny_network

FRAMES = tiny_frames(4)
# Black and white, and every value: beyond what calibration saw, too.
RAMP = np.resize(np.arange(256, dtype=np.uint8), FRAMES[0].shape)
EXTREMES = (RAMP, np.zeros_like(RAMP), np.full_like(RAMP, 255))


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("structure", [Structure.S3, Structure.S3_S1, Structure.S3_SS_S1])
@pytest.mark.parametrize("make", [tiny_network, tiny_detector])
def test_the_answer_is_that_of_the_normalised_frame(make, structure, per_channel):
    network = reparameterize(make(), structure, Merge.FOLD)
    images = [normalise(frame, TINY_INPUT) for frame in FRAMES]
    model = quantise(export_onnx(network), images, per_channel=per_channel)
    cutter = PieceCutter(model, for_cpu=True)
    inputs = network.crossing(0)
    for cut in (1, 5, len(network.segment_names)):
        outputs = network.crossing(cut)
        piece = cutter.piece(inputs, outputs)
        normalised = OnnxEngine(piece, inputs, outputs, 1)
        piece, codes, step = pixel_piece(piece, TINY_INPUT)
        onnx.checker.check_model(onnx.load_model_from_string(piece), full_check=True)
        engine = FrameEngine(
            OnnxEngine(piece, (codes,), outputs, 1), PixelCodes(TINY_INPUT, step), TINY_INPUT
        )
        engine.warm_up(1)
        for frame in (*FRAMES, *EXTREMES):
            wanted = normalised.run({"image": normalise(frame, TINY_INPUT)})
            found = engine.run({"image": frame})
            assert found.keys() == wanted.keys()
            for name in wanted:
                np.testing.assert_array_equal(found[name], wanted[name])


def test_what_does_not_round_the_image_stays_as_it_is():
    network = reparameterize(tiny_network(), Structure.S3, Merge.FOLD)
    first, middle, last = (network.crossing(cut) for cut in (0, 3, len(network.segment_names)))
    exported = export_onnx(network)
    assert pixel_piece(PieceCutter(exported, for_cpu=True).piece(first, last), TINY_INPUT) is None
    images = [normalise(frame, TINY_INPUT) for frame in FRAMES]
    quantised = PieceCutter(quantise(exported, images, per_channel=False), for_cpu=True)
    assert pixel_piece(quantised.piece(middle, last), TINY_INPUT) is None


channel = st.tuples(st.floats(0, 1), st.floats(0.05, 1))


@settings(max_examples=60, deadline=None)
@given(channels=st.tuples(channel, channel, channel), step=st.floats(0.004, 0.2).map(np.float32))
# One channel by arithmetic and two that leave the range of the codes at either end.
@example(channels=((0.24, 0.12), (1.0, 0.05), (0.0, 0.05)), step=np.float32(0.05))
def test_codes_are_those_of_the_operator(channels, step):
    mean, std = zip(*channels, strict=True)
    spec = InputSpec(16, 16, mean, std)
    image = np.stack([np.arange(256, dtype=np.uint8).reshape(16, 16)] * 3, axis=2)
    node = onnx.helper.make_node("QuantizeLinear", ["x", "step", "zero"], ["codes"])
    graph = onnx.helper.make_graph(
        [node],
        "quantise",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, (1, 3, 16, 16))],
        [onnx.helper.make_tensor_value_info("codes", onnx.TensorProto.INT8, (1, 3, 16, 16))],
        [
            onnx.helper.make_tensor("step", onnx.TensorProto.FLOAT, (), [step]),
            onnx.helper.make_tensor("zero", onnx.TensorProto.INT8, (), [0]),
        ],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
    model.ir_version = 8
    session = onnxruntime.InferenceSession(model.SerializeToString())
    (wanted,) = session.run(None, {"x": normalise(image, spec)})
    codes = PixelCodes(spec, step)(image)
    assert codes.shape == (1, 16, 16, 4)
    np.testing.assert_array_equal(
        codes[0, :, :, :3].astype(int) - 128, wanted[0].transpose(1, 2, 0)
    )
    assert (codes[0, :, :, 3] == 128).all()
    np.testing.assert_array_equal(code_tables(spec, step)[1].reshape(16, 16), codes[0, :, :, 1])


def test_a_frame_of_another_size_is_refused():
    with pytest.raises(CodesignError, match=r"the network takes uint8 \(64, 96, 3\), not uint8"):
        PixelCodes(TINY_INPUT, 0.05)(np.zeros((64, 64, 3), np.uint8))
