"""A network cut in two with something sent, against the pieces that accuracy tables come from."""

import numpy as np
import pytest

from codesign_ros.engines.onnx_model.forms import as_onnx
from codesign_ros.evaluation.accuracy_forms import Form
from codesign_ros.evaluation.neck.accuracy import MeasuredNeck, WithNecks
from codesign_ros.evaluation.pieces import Pieces
from codesign_ros.evaluation.rate.network import CutDetector
from codesign_ros.runtime.neck_codec import NeckCodec
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import Merge, Structure
from support.tiny import tiny_frames

CUT = 3


def test_answers_are_those_of_accuracy_tables(each_neck_bundle):
    check_answers(each_neck_bundle, "fp32")


def test_answers_in_8_bits_are_those_of_accuracy_tables(neck_bundle):
    """Behind a ReLU; elsewhere the head's own encoder takes numbers that are not rounded yet."""
    check_answers(neck_bundle, "int8-tensor")


def check_answers(bundle, precision):
    form = Form(Structure.S3, Merge.FOLD, precision)
    network = bundle.network()
    frames = bundle.calibration_frames
    plain = Pieces(network, as_onnx(network, *form, frames), precision, [(5, "uint4")])
    neck = MeasuredNeck.of(bundle, CUT)
    expected = WithNecks(plain, [neck.pieces(form, frames)])
    # zstd changes nothing.
    detector = CutDetector(bundle, precision, [5], ["uint4+zstd"])
    assert detector.ways == [*((CUT, f"neck.{level}") for level in range(3)), (5, "uint4+zstd")]
    for image in tiny_frames(3, seed=8):
        outputs = dict(expected.outputs(image))
        whole, *sent = detector.sent(image)
        assert whole.payload_bytes == 64 * 96 * 3
        np.testing.assert_allclose(whole.output, outputs[None], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(detector.of_frame(image), outputs[None], rtol=1e-4, atol=1e-4)
        for way, each in zip(detector.ways, sent, strict=True):
            theirs = outputs[way[0], way[1].removesuffix("+zstd")]
            np.testing.assert_allclose(each.output, theirs, rtol=1e-4, atol=1e-4)
        assert not np.allclose(sent[0].output, sent[2].output)


def test_bytes_of_a_level_are_those_of_its_payload(each_neck_bundle, monkeypatch):
    written = []
    encode = NeckCodec.encode

    def kept(self, latent, level):
        written.append(encode(self, latent, level))
        return written[-1]

    monkeypatch.setattr(NeckCodec, "encode", kept)
    detector = CutDetector(each_neck_bundle, "fp32", [], [])
    _, *sent = detector.sent(tiny_frames(1)[0])
    assert [each.payload_bytes for each in sent] == [len(each.data) for each in written]
    assert len({each.payload_bytes for each in sent}) == 3


def test_what_a_codec_cannot_carry_is_left_out(neck_bundle, monkeypatch):
    def refused(*_):
        raise CodesignError("not finite")

    detector = CutDetector(neck_bundle, "fp32", [2], ["fp16"], levels=False)
    monkeypatch.setattr("codesign_ros.evaluation.rate.network.encode", refused)
    whole, sent = detector.sent(tiny_frames(1)[0])
    assert sent is None
    assert whole.output.shape == (1, 3)


@pytest.mark.parametrize("cut", [0, 99, -1])
def test_a_cut_that_does_not_exist(neck_bundle, cut):
    with pytest.raises(CodesignError, match=rf"no tensor is sent at cut {cut}: cuts are 1 to \d+$"):
        CutDetector(neck_bundle, "fp32", [cut], ["fp16"])
