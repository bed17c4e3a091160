"""The two halves of the work on a frame, joined at every cut, against the whole network."""

import cv2
import numpy as np
import pytest

from codesign_ros.engines.factory import open_backend
from codesign_ros.runtime.stages.engine_keys import head_key, tail_key
from codesign_ros.runtime.stages.head import HeadStage, is_sendable
from codesign_ros.runtime.stages.plan_check import check_plan
from codesign_ros.runtime.stages.tail import TailStage
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import Merge, Structure
from codesign_ros.types.plan import Plan, RateLevel
from codesign_ros.wire.codecs import encode
from codesign_ros.wire.decode import WireError
from support.runtime import BatchEngine, plan_for, whole_scores
from support.tiny import tiny_frames


@pytest.fixture(scope="module")
def factory(tiny_bundle, engine_cache):
    return open_backend(tiny_bundle, cache_dir=engine_cache)


@pytest.fixture(scope="module")
def frame():
    return tiny_frames(1, seed=3)[0]


def head_stage(bundle, factory, plan):
    return HeadStage(bundle, plan, factory.build(head_key(plan)) if plan.cut else None)


def tail_stage(bundle, factory, plan):
    return TailStage(bundle, plan, factory.build(tail_key(plan)))


def test_keys_name_the_plan_s_engines(tiny_bundle):
    plan = plan_for(
        tiny_bundle,
        1,
        4,
        head_structure=Structure.S3_S1,
        tail_structure=Structure.S3_SS,
        merge=Merge.PRUNE,
    )
    assert (head_key(plan).part, tail_key(plan).part) == ("head", "tail")
    assert head_key(plan).structure is Structure.S3_S1
    assert tail_key(plan).structure is Structure.S3_SS
    for key in (head_key(plan), tail_key(plan)):
        assert (key.cut, key.merge, key.precision) == (4, Merge.PRUNE, "fp32")


def test_every_cut_gives_the_whole_network_s_scores(tiny_bundle, factory, frame):
    last = len(tiny_bundle.segments)
    (expected,), (label,) = whole_scores(tiny_bundle, factory, [frame])
    for cut in range(last + 1):
        plan = plan_for(tiny_bundle, 1, cut, head_structure=Structure.S3_SS_S1)
        output = head_stage(tiny_bundle, factory, plan).run(frame)
        assert (output.answer is None) == (cut < last)
        assert output.head_s >= 0
        assert output.encode_s >= 0
        scores = output.answer
        if scores is None:
            tail = tail_stage(tiny_bundle, factory, plan)
            scores = tail.run(tail.decode(output.encoded))
        np.testing.assert_allclose(scores.class_scores, expected, atol=1e-5)
        assert scores.label == label


@pytest.mark.parametrize(
    ("cut", "codec", "loss"), [(0, "jpeg", 0.1), (0, "raw+zstd", 1e-5), (8, "uint8+zstd", 0.05)]
)
def test_the_plan_s_codec_is_used(tiny_bundle, factory, frame, cut, codec, loss):
    (expected,), _ = whole_scores(tiny_bundle, factory, [frame])
    plan = plan_for(tiny_bundle, 1, cut, codec=codec)
    encoded = head_stage(tiny_bundle, factory, plan).run(frame).encoded
    assert [tensor.codec for tensor in encoded] == [codec]
    tail = tail_stage(tiny_bundle, factory, plan)
    scores = tail.run(tail.decode(encoded))
    np.testing.assert_allclose(scores.class_scores, expected, atol=loss)


@pytest.mark.parametrize(("cut", "codec"), [(0, "raw"), (4, "raw")])
def test_a_batch_gives_each_frame_what_it_gets_alone(tiny_bundle, factory, cut, codec):
    plan = plan_for(tiny_bundle, 1, cut, codec=codec)
    head = head_stage(tiny_bundle, factory, plan)
    tail = TailStage(tiny_bundle, plan, BatchEngine(factory.build(tail_key(plan)), 3))
    assert tail.max_batch == 3
    frames = tiny_frames(3, seed=5)
    batch = [tail.decode(head.run(frame).encoded) for frame in frames]
    expected = [tail.run(tensors) for tensors in batch]
    assert tail.run_batch(batch) == expected
    assert len({answer.class_scores for answer in expected}) == 3
    if cut > 0:
        (name,) = batch[1]
        batch[1] = {name: np.full_like(batch[1][name], np.nan)}
        first, bad, last = tail.run_batch(batch)
        assert isinstance(bad, CodesignError)
        assert [first, last] == [expected[0], expected[2]]


def test_a_tail_takes_no_tensors_but_its_own(tiny_bundle, factory, frame):
    plan = plan_for(tiny_bundle, 1, 3, codec="fp16")
    tail = tail_stage(tiny_bundle, factory, plan)
    (good,) = head_stage(tiny_bundle, factory, plan).run(frame).encoded
    (spec,) = tiny_bundle.crossings[3]
    assert tail.decode([good]).keys() == {spec.name}
    other_codec = encode(spec.name, np.zeros(spec.shape, np.float32), "raw")
    for tensors, reason in (([], "shape"), ([good, good], "shape"), ([other_codec], "codec")):
        with pytest.raises(WireError) as caught:
            tail.decode(tensors)
        assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"cut": 3, "model_id": "other"}, "the plan is for network 'other', this node has '"),
        ({"cut": -1}, "cut -1 does not exist; cuts are 0 to "),
        ({"cut": 999}, "cut 999 does not exist"),
        ({"cut": 3, "codec": "jpeg"}, "codec 'jpeg' cannot carry tensor .* at cut 3"),
        ({"cut": 3, "codec": "lz4"}, "codec 'lz4' cannot carry"),
        ({"cut": 0, "codec": "fp16"}, "usable: raw, raw.zstd, jpeg"),
        ({"cut": 3, "codec": "jpeg444.50"}, "codec 'jpeg444.50' cannot carry tensor .* at cut 3"),
        (
            {"cut": 0, "codec": "jpeg444.50", "levels": (RateLevel(4, 1.0, 0.0),)},
            "rate levels that codec 'jpeg444.50' has not: it has 4",
        ),
        ({"cut": 0, "codec": "jpeg", "levels": (RateLevel(0, 1.0, 0.0),)}, "it has 0"),
    ],
)
def test_a_plan_that_cannot_be_followed_is_refused(tiny_bundle, fields, says):
    with pytest.raises(CodesignError, match=says):
        check_plan(Plan(**{"model_id": tiny_bundle.model_id} | fields), tiny_bundle)


def test_a_plan_that_keeps_all_on_the_robot_needs_no_codec(tiny_bundle):
    check_plan(plan_for(tiny_bundle, 1, len(tiny_bundle.segments), codec="raw"), tiny_bundle)


def test_a_jpeg_of_the_input_s_size_goes_as_it_is(tiny_bundle, factory):
    plan = Plan(cut=0, codec="jpeg", model_id=tiny_bundle.model_id)
    head = HeadStage(tiny_bundle, plan, None)
    tail = TailStage(tiny_bundle, plan, factory.build(tail_key(plan)))
    image = tiny_frames(1)[0]
    jpeg = cv2.imencode(".jpg", image[..., ::-1])[1].tobytes()
    assert is_sendable(jpeg, tiny_bundle.input)
    output = head.forward(jpeg)
    assert output.encoded[0].data == jpeg
    decoded = cv2.cvtColor(
        cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB
    )
    whole = Plan(cut=len(tiny_bundle.segments), model_id=tiny_bundle.model_id)
    expected = HeadStage(tiny_bundle, whole, factory.build(head_key(whole))).run(decoded).answer
    actual = tail.run(tail.decode(output.encoded))
    np.testing.assert_allclose(actual.class_scores, expected.class_scores, atol=1e-5)


LEVELS = tuple(RateLevel(n, size, 0.01 * n) for n, size in enumerate((8e3, 4e3, 2e3, 1e3)))


def test_the_jpeg_s_quality_follows_the_link(tiny_bundle, factory, frame):
    """Each quality comes at its rate, and the tail reads all under the one plan."""
    plan = Plan(
        cut=0, codec="jpeg444.75", levels=LEVELS, lambda_1=1.0, link_bps=1e6,
        model_id=tiny_bundle.model_id,
    )  # fmt: skip
    check_plan(plan, tiny_bundle)
    tail = tail_stage(tiny_bundle, factory, plan)
    (expected,), _ = whole_scores(tiny_bundle, factory, [frame])
    sent = []
    for rate_bps in (0.0, 1e9, 1e6, 2e5):
        head = HeadStage(tiny_bundle, plan, None, rate_bps=lambda rate_bps=rate_bps: rate_bps)
        (encoded,) = head.run(frame).encoded
        scores = tail.run(tail.decode([encoded]))
        np.testing.assert_allclose(scores.class_scores, expected, atol=0.2)
        sent.append(encoded.codec)
    assert sent == ["jpeg444.75", "jpeg444.90", "jpeg444.50", "jpeg444.30"]


def test_a_camera_s_jpeg_that_is_smaller_is_sent_as_it_is(tiny_bundle, factory, frame):
    plan = plan_for(tiny_bundle, 1, 0, codec="jpeg444.50")
    head, tail = head_stage(tiny_bundle, factory, plan), tail_stage(tiny_bundle, factory, plan)
    for quality, codec in ((100, "jpeg444.50"), (5, "jpeg")):
        options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
        jpeg = cv2.imencode(".jpg", frame[..., ::-1], options)[1]
        (encoded,) = head.run(frame, jpeg.tobytes()).encoded
        assert encoded.codec == codec
        assert encoded.payload_bytes <= jpeg.nbytes
        tail.run(tail.decode([encoded]))
    # Nobody who sends frames as they are, or raw, asks for another JPEG.
    for codec in ("jpeg", "raw"):
        other = tail_stage(tiny_bundle, factory, plan_for(tiny_bundle, 1, 0, codec=codec))
        with pytest.raises(WireError) as caught:
            other.decode(head.run(frame).encoded)
        assert caught.value.reason == "codec"
        (encoded,) = head_stage(tiny_bundle, factory, other.plan).run(frame, b"jpeg").encoded
        assert encoded.codec == codec


def test_what_is_not_the_input_s_baseline_jpeg_is_not_sent_as_it_is(tiny_bundle):
    spec = tiny_bundle.input
    fits = np.zeros((spec.height, spec.width, 3), np.uint8)
    jpeg = cv2.imencode(".jpg", fits)[1].tobytes()
    progressive = cv2.imencode(".jpg", fits, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    other_size = cv2.imencode(".jpg", fits[:-8])[1].tobytes()
    grey = cv2.imencode(".jpg", fits[..., 0])[1].tobytes()
    png = cv2.imencode(".png", fits)[1].tobytes()
    for data in (progressive, other_size, grey, png, jpeg[:-1], b""):
        assert not is_sendable(data, spec)
