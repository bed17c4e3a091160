"""A detector on robot and server: boxes in the camera's pixels, whoever computed them."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from codesign_ros.data.frames import SourceFrame
from codesign_ros.engines.factory import open_backend
from codesign_ros.evaluation.replay import Runner, is_same
from codesign_ros.pixels.boxes import Selection, decode_detections, to_frame
from codesign_ros.pixels.letterbox import letterbox
from codesign_ros.runtime.answers import answer_of
from codesign_ros.runtime.messages import Stamp, Status, TailAnswer
from codesign_ros.runtime.stages.engine_keys import head_key
from codesign_ros.types.boxes import Box
from codesign_ros.types.forms import PRECISIONS, Merge, Structure
from support.detectors import write_detector_bundle
from support.runtime import TAIL, Head, Tail, no_thread_left, plan_for, wait_until
from support.tiny import TINY_INPUT, tiny_frames

# As the input, larger, wide, tall, and one that is narrower than the input.
SIZES = ((64, 96), (96, 144), (60, 200), (180, 90), (40, 40))
NAN = float("nan")


@pytest.fixture(autouse=True)
def _no_thread_left():
    with no_thread_left():
        yield


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_detector_bundle(tmp_path_factory.mktemp("bundles") / "detector.bundle")


@pytest.fixture(scope="module")
def factory(bundle, engine_cache):
    return open_backend(bundle, cache_dir=engine_cache)


@pytest.fixture(scope="module")
def frames():
    return [
        cv2.resize(frame, (width, height))
        for frame, (height, width) in zip(tiny_frames(5, seed=4), SIZES, strict=True)
    ]


@pytest.fixture(scope="module")
def expected(bundle, factory, frames):
    """What the whole network finds in each frame, in its pixels."""
    whole = factory.build(head_key(plan_for(bundle, 0, bundle.last_cut)))
    found = []
    for frame in frames:
        image = letterbox(frame, bundle.input)
        (output,) = whole.run({"image": image}).values()
        boxes = decode_detections(output, bundle.classes)
        found.append(to_frame(boxes, frame.shape[0], frame.shape[1], bundle.input))
    assert min(map(len, found)) > 5
    return found


@pytest.fixture
def pair(bundle, factory):
    """A head and its tail, joined by plain calls."""
    tail = Tail(bundle, factory)
    head = Head(bundle, factory, send_embedding=tail.runtime.on_embedding)
    tail.runtime._send_answer = head.runtime.on_answer
    yield head, tail
    head.runtime.close()
    tail.runtime.close()


def check(results, expected, finished_by):
    for result, boxes in zip(results, expected, strict=True):
        assert (result.status, result.finished_by, result.reason) == (Status.OK, finished_by, "")
        assert result.served_by == (TAIL if finished_by == "server" else "")
        assert (result.label, result.score, result.class_names) == ("", 0.0, ())
        assert [box.label for box in result.detections] == [box.label for box in boxes]
        for name in ("x_min", "y_min", "x_max", "y_max", "score"):
            np.testing.assert_allclose(
                [getattr(box, name) for box in result.detections],
                [getattr(box, name) for box in boxes],
                atol=2e-2,
            )


# All on the robot, the frame itself, one, two and three tensors, the head's raw output.
@pytest.mark.parametrize("cut", [None, 0, 5, 13, 20, 25])
def test_boxes_are_in_the_frame_s_pixels_at_every_aspect_ratio(pair, bundle, frames, expected, cut):
    head, tail = pair
    plan = plan_for(bundle, 1, bundle.last_cut if cut is None else cut)
    if cut is not None:
        tail.use(plan)
    head.use(plan)
    for number, frame in enumerate(frames):
        head.put(frame, number)
    head.wait_for(len(frames))
    check(head.results, expected, "robot" if cut is None else "server")


def test_the_tail_s_answers_are_in_the_input_s_pixels(bundle, factory, frames):
    tail, answers = Tail(bundle, factory), []
    tail.runtime._send_answer = answers.append
    head = Head(bundle, factory, send_embedding=tail.runtime.on_embedding)
    plan = plan_for(bundle, 1, 13)
    tail.use(plan)
    head.use(plan)
    head.put(frames[1])
    wait_until(lambda: answers)
    boxes = decode_detections(whole_output(bundle, factory, frames[1]), bundle.classes)
    found = answers[0].detections
    np.testing.assert_allclose([b.x_max for b in found], [b.x_max for b in boxes], atol=1e-2)
    head.runtime.close()
    tail.runtime.close()


def whole_output(bundle, factory, frame):
    engine = factory.build(head_key(plan_for(bundle, 0, bundle.last_cut)))
    image = letterbox(frame, bundle.input)
    return next(iter(engine.run({"image": image}).values()))


def test_the_fallback_s_boxes_are_in_the_frame_s_pixels_too(bundle, factory, frames, expected):
    head = Head(bundle, factory, deadline_s=0.01)  # nobody answers
    head.use(plan_for(bundle, 1, 13))
    for number, frame in enumerate(frames):
        head.put(frame, number)
    head.wait_for(len(frames))
    check(head.results, expected, "fallback")
    head.runtime.close()


def test_a_camera_s_jpeg_that_goes_as_it_is_has_the_input_s_size(pair, bundle, factory, frames):
    head, tail = pair
    plan = plan_for(bundle, 1, 0, codec="jpeg")
    tail.use(plan)
    head.use(plan)
    jpeg = cv2.imencode(".jpg", frames[0][..., ::-1])[1].tobytes()
    decoded = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    head.runtime.on_frame(Stamp(0), lambda: pytest.fail("nobody needs the pixels"), jpeg)
    head.wait_for(1)
    boxes = decode_detections(whole_output(bundle, factory, decoded), bundle.classes)
    check(head.results, [to_frame(boxes, 64, 96, TINY_INPUT)], "server")


def test_which_boxes_count_can_be_set_while_it_runs(bundle, factory, frames):
    head = Head(bundle, factory)
    head.put(frames[0])
    head.wait_for(1)
    head.runtime.settings.selection = Selection(score_threshold=0.5, max_detections=3)
    head.put(frames[0])
    head.wait_for(2)
    first, second = (result.detections for result in head.results)
    assert len(first) > 3
    assert second == tuple(box for box in first if box.score > 0.5)[:3]
    head.runtime.close()


def test_boxes_of_a_broken_tail_stay_in_the_frame(bundle, factory, frames):
    head = Head(bundle, factory)
    head.use(plan_for(bundle, 1, 5))
    head.put(frames[2])  # 60 x 200
    wait_until(lambda: head.embeddings)
    inf = float("inf")
    boxes = (
        Box("head", NAN, 0, 9, 9),
        Box("head", -inf, -inf, inf, inf),
        Box("head", 300, 0, 400, 9),
        *[Box("person", 10, 30, 20, 40)] * 500,
    )
    sent = head.embeddings[0]
    about = {"served_by": TAIL, "session": sent.session}
    broken = TailAnswer(sent.stamp, sent.sequence, sent.epoch, detections=boxes, **about)
    wait_until(lambda: head.runtime.on_answer(broken) or head.results)
    (result,) = head.results
    assert result.detections[0] == Box("head", 0, 0, 200, 60)
    assert len(result.detections) <= Selection.max_detections
    for box in result.detections:
        assert 0 <= box.x_min < box.x_max <= 200
        assert 0 <= box.y_min < box.y_max <= 60
    head.runtime.close()


def test_a_network_whose_output_means_nothing_to_us_answers_without_a_label(
    tiny_bundle, engine_cache
):
    bundle = replace(tiny_bundle, task="features", classes=())
    factory = open_backend(bundle, cache_dir=engine_cache)
    tail = Tail(bundle, factory)
    head = Head(bundle, factory, send_embedding=tail.runtime.on_embedding)
    tail.runtime._send_answer = head.runtime.on_answer
    head.put(tiny_frames(1)[0])
    head.wait_for(1)
    plan = plan_for(bundle, 1, 5)
    tail.use(plan)
    head.use(plan)
    head.put(tiny_frames(1)[0])
    head.wait_for(2)
    assert [result.finished_by for result in head.results] == ["robot", "server"]
    for result in head.results:
        assert (result.status, result.label, result.detections) == (Status.OK, "", ())
    head.runtime.close()
    tail.runtime.close()


@pytest.mark.parametrize(
    ("precision", "merge"),
    [*[(precision, Merge.FOLD) for precision in PRECISIONS], ("fp32", Merge.PRUNE_BN)],
)
def test_every_precision_and_merge_is_that_of_one_process(pair, bundle, factory, precision, merge):
    head, tail = pair
    frame = tiny_frames(1, seed=6)[0]
    plan = plan_for(
        bundle, 1, 13, precision=precision, merge=merge, codec="uint8+zstd",
        head_structure=Structure.S3_SS,
    )  # fmt: skip
    tail.use(plan)
    head.use(plan)
    head.put(frame)
    head.wait_for(1)
    (result,) = head.results
    runner = Runner(bundle, factory)
    source = SourceFrame(0, frame.tobytes(), "rgb8", 64, 96, 3 * 96)
    alone = runner.run(source, plan).answer
    assert result.finished_by == "server"
    assert result.detections
    assert is_same(answer_of(result), alone)
    exact = runner.run(source, replace(plan, precision="fp32", merge=Merge.FOLD)).answer
    assert is_same(exact, alone) == ((precision, merge) == ("fp32", Merge.FOLD))
