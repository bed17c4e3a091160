"""A head process without a planner, with bad frames, and led by the test in place of one."""

import itertools
import math
from array import array
from dataclasses import replace

import cv2
import numpy as np
import pytest
from builtin_interfaces.msg import Time
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header
from std_srvs.srv import SetBool

from codesign_ros.engines.base import EngineKey
from codesign_ros.engines.factory import open_backend
from codesign_ros.msg import Embedding as EmbeddingMsg
from codesign_ros.msg import TailAnswer as TailAnswerMsg
from codesign_ros.nodes.interface.messages import (
    embedding_from_msg,
    ns_to_time,
    plan_to_msg,
    tail_answer_to_msg,
)
from codesign_ros.pixels.letterbox import letterbox
from codesign_ros.runtime.answers import classified
from codesign_ros.runtime.messages import (
    DropReason,
    EmbeddingKind,
    Stamp,
    Status,
    TailAnswer,
    TailStatus,
)
from codesign_ros.runtime.stages.engine_keys import tail_key
from codesign_ros.runtime.stages.tail import TailStage
from codesign_ros.srv import CommitPlan, PreparePlan
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.plan import Plan

pytest_plugins = ("support.ros",)


class Camera:
    """Plays the camera for a head process and waits for the answers."""

    def __init__(self, robot, bundle, factory, pictures, transport):
        self.robot = robot
        self.bundle = bundle
        self.factory = factory
        self.pictures = pictures
        self._whole = factory.build(EngineKey("head", bundle.last_cut))
        self._transport = transport
        self._stamp_ns = 0
        kind, topic = (
            (CompressedImage, "image_raw/compressed")
            if transport == "compressed"
            else (Image, "image_raw")
        )
        self._images = robot.topic(kind, topic)

    def message(self, picture=0):
        """A sound frame."""
        now_ns = self.robot.observer.node.get_clock().now().nanoseconds
        self._stamp_ns = max(now_ns, self._stamp_ns + 1)  # no two have the same
        header = Header(stamp=ns_to_time(self._stamp_ns), frame_id="front")
        rgb = self.pictures[picture]
        if self._transport == "compressed":
            _, data = cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
            return CompressedImage(header=header, format="png", data=array("B", data.tobytes()))
        height, width, channels = rgb.shape
        return Image(
            header=header,
            height=height,
            width=width,
            encoding="rgb8",
            step=width * channels,
            data=array("B", rgb.tobytes()),
        )

    def send(self, msg):
        self._images.publish(msg)

    def results_of(self, msg):
        stamp_ns = msg.header.stamp.sec * 10**9 + msg.header.stamp.nanosec
        return [r for r in self.robot.results if r.stamp == Stamp(stamp_ns, "front")]

    def answer(self, msg):
        """Send a frame and wait for its result."""
        self.send(msg)
        return self.wait_for_answer(msg)

    def wait_for_answer(self, msg):
        self.robot.wait(lambda: self.results_of(msg), "the result of a frame")
        (result,) = self.results_of(msg)
        return result

    def expected(self, picture):
        image = letterbox(self.pictures[picture], self.bundle.input)
        return classified(*self._whole.run({"image": image}).values(), self.bundle.classes)

    def check_result(self, result, picture, finished_by):
        scores = self.expected(picture)
        assert (result.status, result.finished_by) == (Status.OK, finished_by)
        assert result.served_by == ("/robot/tail" if finished_by == "server" else "")
        assert result.label == scores.label
        assert result.class_names == self.bundle.classes
        assert result.class_scores == pytest.approx(scores.class_scores, abs=1e-5)

    def check_lives(self, picture=1):
        """A sound frame gets the right answer, by the robot alone."""
        result = self.answer(self.message(picture))
        self.check_result(result, picture, "robot")
        return result


def start_head(site, bundle, pictures, cache_dir, **parameters):
    robot = site.robot(
        head={
            "bundle": str(bundle.path),
            "profile_s": 0.0,
            "image_reliability": "reliable",
            **parameters,
        }
    )
    robot.start("head")
    robot.wait_for_state("head", "active")
    robot.wait_for_listeners("head", "result", 1)
    factory = open_backend(bundle, cache_dir=cache_dir)
    transport = parameters.get("image_transport", "compressed")
    return Camera(robot, bundle, factory, pictures, transport)


@pytest.fixture(scope="module")
def camera(module_site, node_bundle, pictures, engine_cache):
    """A camera before a head that takes compressed images."""
    return start_head(module_site, node_bundle, pictures, engine_cache)


def jpeg(rgb):
    return cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))[1].tobytes()


def absurd_jpeg(rgb):
    """A JPEG whose frame header says 65535 x 65535 pixels."""
    data = bytearray(jpeg(rgb))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = b"\xff\xff\xff\xff"
    return bytes(data)


# What the head says of its frames in /diagnostics.
ACCOUNT = ("results", "robot", "dropped", "dropped_busy", "unaccounted", "lost_before_head")

# The bytes of a compressed image, and a part of the reason for which its frame is dropped.
BAD_COMPRESSED = {
    "jpeg cut off": (lambda rgb: jpeg(rgb)[:-100], "is cut off"),
    "jpeg header alone": (lambda rgb: jpeg(rgb)[:12], "is cut off"),
    "jpeg of absurd size": (absurd_jpeg, "65535x65535"),
    "nothing": (lambda rgb: b"", "neither JPEG nor PNG"),
    "text": (lambda rgb: b"not a picture", "neither JPEG nor PNG"),
    "gif": (lambda rgb: b"GIF89a" + bytes(100), "neither JPEG nor PNG"),
    "damaged png": (lambda rgb: b"\x89PNG\r\n\x1a\n" + bytes(40), "png image"),
}


def test_robot_alone_without_a_planner(camera):
    for picture in range(4):
        result = camera.check_lives(picture)
        assert result.epoch == 0
        assert result.payload_bytes == 0
        assert result.response_s > 0
        assert result.head_s > 0


@pytest.mark.parametrize("name", BAD_COMPRESSED)
def test_compressed_frame_that_cannot_be_read(camera, name):
    make, reason = BAD_COMPRESSED[name]
    msg = camera.message()
    msg.data = array("B", make(camera.pictures[0]))
    result = camera.answer(msg)
    assert result.status is Status.DROPPED
    assert result.drop_reason is DropReason.UNREADABLE
    assert reason in result.reason
    assert "\n" not in result.reason
    assert (result.label, result.finished_by, result.served_by) == ("", "", "")
    camera.robot.wait_for_message("head", f"frames cannot be read: {result.reason}")
    camera.check_lives()
    camera.robot.wait_for_state("head", "active")


def test_format_field_that_lies(camera):
    msg = camera.message(2)
    msg.format = "bgr16; h264 compressed"
    camera.check_result(camera.answer(msg), 2, "robot")


def test_a_paused_head_answers_each_frame_as_dropped(camera):
    """Whatever state it goes to meanwhile; whoever counts on one result a frame is not stuck."""
    robot, head = camera.robot, "/robot/head"
    robot.wait_for_message("head", "active")
    answer = robot.call(SetBool, "head/enable", data=False)
    assert (answer.success, answer.message) == (True, "paused by service enable")
    robot.wait_for_message("head", "active, paused by service enable")
    for again in (False, True):
        result = camera.answer(camera.message())
        assert (result.status, result.drop_reason) == (Status.DROPPED, DropReason.PAUSED)
        assert result.reason == "the head is paused (service enable)"
        if not again:
            robot.observer.change_state(head, "deactivate")
            robot.wait_for_message("head", "inactive, paused by service enable")
            robot.observer.change_state(head, "activate")
    robot.wait(lambda: robot.values("head").get("dropped_paused") == "1", "the frame's count")
    assert robot.values("head")["enabled"] == "False"
    assert robot.call(SetBool, "head/enable", data=True).success
    camera.check_lives()
    robot.wait(lambda: robot.values("head")["enabled"] == "True", "diagnostics")
    assert "paused" not in robot.message("head")
    for transition in ("deactivate", "activate"):  # so that other tests find an account of theirs
        robot.observer.change_state(head, transition)


def test_dropped_frames_are_counted(camera):
    def dropped():
        camera.robot.observer.diagnostics.clear()
        camera.robot.wait(lambda: "frames" in camera.robot.values("head"), "diagnostics")
        values = camera.robot.values("head")
        assert values["dropped"] == values.get("dropped_unreadable", "0")
        return int(values["dropped"])

    before = dropped()
    for _ in range(3):
        msg = camera.message()
        msg.data = array("B")
        camera.answer(msg)
    assert dropped() == before + 3


def test_answers_that_nobody_asked_for(camera):
    robot = camera.robot
    answers = robot.topic(TailAnswerMsg, "result/remote")
    foreign = int(robot.values("head").get("foreign", 0))
    results = len(robot.results)
    unknown = TailAnswer(Stamp(5, "front"), 10**9, 0, label="empty")
    of_old_frame = TailAnswer(Stamp(5, "front"), 0, 0, label="empty")
    for answer in (unknown, of_old_frame):
        answers.publish(tail_answer_to_msg(answer))
    strange = tail_answer_to_msg(unknown)
    strange.status = 200
    answers.publish(strange)
    # Of another session: they answer what this head never asked.
    robot.wait(
        lambda: int(robot.values("head").get("foreign", 0)) == foreign + 2, "foreign answers"
    )
    camera.check_lives()
    assert len(robot.results) == results + 1


# What is changed in a raw image, and a part of the reason for which its frame is dropped.
BAD_RAW = {
    "wrong step": ({"step": 3 * 144 + 1}, "step 433 x height"),
    "step of less than a row": ({"step": 100}, "step 100 is less than one row"),
    "no step": ({"step": 0}, "step 0 is less than one row"),
    "too high": ({"height": 97}, "height 97"),
    "no height": ({"height": 0}, "has no usable size"),
    "absurd size": ({"height": 2**31, "width": 2**31, "step": 2**32 - 1}, "has no usable size"),
    "no data": ({"data": array("B")}, "0 bytes"),
    "unknown encoding": ({"encoding": "32FC3"}, "image encoding '32FC3' is depth or another"),
    "no encoding": ({"encoding": ""}, "image encoding '' is not supported"),
}


def test_raw_frames(site, node_bundle, pictures, engine_cache):
    camera = start_head(site, node_bundle, pictures, engine_cache, image_transport="raw")
    for fields, reason in BAD_RAW.values():
        msg = camera.message()
        for field, value in fields.items():
            setattr(msg, field, value)
        result = camera.answer(msg)
        assert result.status is Status.DROPPED
        assert reason in result.reason
        camera.check_lives()

    padded = camera.message(3)
    rows = np.frombuffer(padded.data, np.uint8).reshape(padded.height, padded.step)
    padded.step += 16
    padded.data = array("B", np.pad(rows, ((0, 0), (0, 16))).tobytes())
    camera.check_result(camera.answer(padded), 3, "robot")


class Leader:
    """Plays planner and tail for a head process."""

    def __init__(self, camera):
        self.camera = camera
        self.robot = camera.robot
        self._answers = self.robot.topic(TailAnswerMsg, "result/remote")
        self._embeddings = self.robot.listen(EmbeddingMsg, "embedding", self._answer_probe)
        self.robot.wait_for_listeners("head", "embedding", 1)
        self._epochs = itertools.count(1)

    def plan(self, **fields):
        plan = Plan(
            cut=3,
            epoch=next(self._epochs),
            model_id=self.camera.bundle.model_id,
            served_by="/robot/tail",
            server_available=True,
        )
        return replace(plan, **fields)

    def prepare(self, plan):
        return self.robot.call(PreparePlan, "head/prepare_plan", plan=plan_to_msg(plan))

    def commit(self, epoch):
        return self.robot.call(CommitPlan, "head/commit_plan", epoch=epoch)

    def put_in_force(self, plan):
        for answer in (self.prepare(plan), self.commit(plan.epoch)):
            assert answer.ok, answer.message

    def embedding(self, picture, plan):
        """Send a picture and wait for its embedding under a plan.

        It is sent again where the head has finished it alone: it doubts the server for a moment
        after an answer that did not come in time.
        """
        frames = []

        def found():
            return [
                (frame, msg)
                for frame in frames
                for msg in self._embeddings[:]
                if msg.kind == EmbeddingKind.FRAME and msg.header == frame.header
            ]

        def is_there():
            if not frames or self.camera.results_of(frames[-1]):
                frames.append(self.camera.message(picture))
                self.camera.send(frames[-1])
            return found()

        self.robot.wait(is_there, "an embedding")
        frame, msg = found()[-1]
        assert (msg.epoch, msg.cut, msg.model_id) == (plan.epoch, plan.cut, plan.model_id)
        return frame, embedding_from_msg(msg)

    def served(self, picture, plan):
        """Have a picture answered by the server; returns its result.

        It is sent again where the robot was first: for some seconds after it had left the server,
        which on a busy machine may have been silent for too long, it computes frames as well. What
        has come here meanwhile is answered all the same: a server that is silent to some frames is
        one to leave.
        """
        frames, answered, served = [], set(), []

        def is_served():
            results = [result for frame in frames for result in self.camera.results_of(frame)]
            if len(results) == len(frames):
                frames.append(self.camera.message(picture))
                self.camera.send(frames[-1])
            for msg in self._embeddings[:]:
                is_frame = msg.kind == EmbeddingKind.FRAME and msg.epoch == plan.epoch
                if is_frame and msg.sequence not in answered:
                    answered.add(msg.sequence)
                    self.answer(self.tail(embedding_from_msg(msg), plan))
            served.extend(result for result in results if result.finished_by == "server")
            return served

        self.robot.wait(is_served, "an answer by the server")
        return served[-1]

    def _answer_probe(self, msg):
        """Say that a server is there; a head that hears nothing of it leaves it."""
        if msg.kind == EmbeddingKind.PROBE:
            probe = embedding_from_msg(msg)
            about = probe.stamp, probe.sequence, probe.epoch, TailStatus.PROBE
            self.answer(TailAnswer(*about, served_by="/robot/tail", session=probe.session))

    def tail(self, embedding, plan):
        """What a tail would answer."""
        factory, bundle = self.camera.factory, self.camera.bundle
        stage = TailStage(bundle, plan, factory.build(tail_key(plan)))
        scores = stage.run(stage.decode(embedding.tensors))
        return TailAnswer(
            embedding.stamp,
            embedding.sequence,
            embedding.epoch,
            served_by="/robot/tail",
            session=embedding.session,
            label=scores.label,
            score=scores.score,
            class_names=scores.class_names,
            class_scores=scores.class_scores,
        )

    def answer(self, answer):
        self._answers.publish(tail_answer_to_msg(answer))


@pytest.fixture
def leader(site, node_bundle, pictures, engine_cache):
    """A leader of a head that waits long for answers."""
    return Leader(start_head(site, node_bundle, pictures, engine_cache, deadline_s=60.0))


def test_led_by_the_test(leader):
    camera, robot = leader.camera, leader.robot
    camera.check_lives()

    # The server answers.
    plan = leader.plan(codec="fp16")
    leader.put_in_force(plan)
    frame, embedding = leader.embedding(4, plan)
    leader.answer(leader.tail(embedding, plan))
    result = camera.wait_for_answer(frame)
    assert (result.finished_by, result.served_by) == ("server", "/robot/tail")
    assert result.epoch == plan.epoch
    assert result.label == camera.expected(4).label
    assert result.payload_bytes == embedding.payload_bytes > 0

    # It answers once more: the first answer counts.
    results = len(robot.results)
    leader.answer(replace(leader.tail(embedding, plan), label="bare-headed"))
    robot.wait(lambda: robot.values("head").get("late") == "1", "a late answer")
    assert len(robot.results) == results

    # It refuses: the robot finishes the frame.
    frame, embedding = leader.embedding(5, plan)
    about = embedding.stamp, embedding.sequence, plan.epoch
    said = {"served_by": "/robot/tail", "session": embedding.session}
    leader.answer(TailAnswer(*about, TailStatus.REFUSED, "no", **said))
    camera.check_result(camera.wait_for_answer(frame), 5, "fallback")

    # It answers for another epoch, and then does not answer in time. Within a shorter deadline a
    # busy machine answers no trial either, and without that the head sends no frame.
    robot.observer.set_parameter(robot.name("head"), "deadline_s", 0.5)
    frame, embedding = leader.embedding(6, plan)
    leader.answer(replace(leader.tail(embedding, plan), epoch=99, label="bare-headed"))
    camera.check_result(camera.wait_for_answer(frame), 6, "fallback")
    robot.observer.set_parameter(robot.name("head"), "deadline_s", 60.0)

    # It is lost with a frame in its hands: the next plan says so.
    frame, _ = leader.embedding(7, plan)
    alone = leader.plan(cut=15, served_by="", server_available=False)
    leader.put_in_force(alone)
    camera.check_result(camera.wait_for_answer(frame), 7, "fallback")
    assert camera.check_lives().epoch == alone.epoch

    # It is back, and gets the frame itself.
    plan = leader.plan(cut=0, codec="raw")
    leader.put_in_force(plan)
    camera.check_result(leader.served(8, plan), 8, "server")
    robot.wait(lambda: robot.values("head").get("epoch") == str(plan.epoch), "the epoch")
    assert robot.values("head")["served_by"] == "/robot/tail"

    # Frames in flight when the head deactivates are answered: as dropped, or by the robot where it
    # was so late that it had begun with it.
    frame, _ = leader.embedding(9, plan)
    robot.observer.change_state(robot.name("head"), "deactivate")
    result = camera.wait_for_answer(frame)
    closed = (Status.DROPPED, DropReason.CLOSED, "the head is not active any more")
    finished = (Status.OK, DropReason.NONE, "")
    is_finished = result.finished_by == "fallback"
    said = (result.status, result.drop_reason, result.reason)
    assert said == (finished if is_finished else closed)
    answer = leader.prepare(leader.plan())
    assert (answer.ok, answer.message) == (False, "/robot/head is not active")
    robot.observer.change_state(robot.name("head"), "activate")
    assert camera.check_lives().epoch == 0

    sequences = [result.sequence for result in robot.results]
    assert sequences[:-1] == list(range(len(sequences) - 1))


def test_plans_that_cannot_be_followed(leader):
    for fields, text in (
        ({"model_id": "0123456789abcdef"}, "start head, tail and planner with the same bundle"),
        ({"cut": 99}, "cut 99 does not exist; cuts are 0 to 15"),
        ({"cut": 0, "codec": "uint8"}, "codec 'uint8' cannot carry tensor 'image' at cut 0"),
        ({"precision": "int3"}, "int3"),
        ({"epoch": 0}, "epoch 0 is in force here, or was; take another number"),
    ):
        answer = leader.prepare(leader.plan(**fields))
        assert not answer.ok
        assert text in answer.message
    answer = leader.commit(77)
    assert (answer.ok, answer.message) == (
        False,
        "epoch 77 was not prepared here; prepare it first",
    )
    assert leader.camera.check_lives().epoch == 0


def test_parameters_at_run_time(camera):
    set_parameter = camera.robot.observer.set_parameter
    for name, value, text in (
        # The first three are rclpy's own words.
        ("deadline_s", 100.0, "deadline_s out of range Min: 0.01, Max: 60.0, value: 100.0"),
        ("queue_depth", 0, "queue_depth out of range. Min: 1, Max: 1000, value: 0"),
        ("queue_depth", "many", "Wrong parameter type"),
        ("deadline_s", "long", "parameter deadline_s must be a float, not 'long'"),
        ("image_transport", "raw", "read-only parameter"),
    ):
        with pytest.raises(CodesignError, match=f"refused {name}: .*{text}"):
            set_parameter(camera.robot.name("head"), name, value)
    set_parameter(camera.robot.name("head"), "deadline_s", 2)  # whole numbers are taken too
    camera.check_lives()


# Seconds before now that are no age of a frame; None: a stamp of zero.
BAD_STAMPS_S = {"zero": None, "of another clock": 1_000_000.0, "in the future": -5.0}


@pytest.mark.parametrize("name", BAD_STAMPS_S)
def test_stamp_that_cannot_be_right(camera, name):
    """It has its answer, and no times are made up for it."""
    before_s = BAD_STAMPS_S[name]
    msg = camera.message(3)
    now_ns = camera.robot.observer.node.get_clock().now().nanoseconds
    msg.header.stamp = ns_to_time(now_ns - int(before_s * 1e9)) if before_s else Time()
    result = camera.answer(msg)
    camera.check_result(result, 3, "robot")
    assert math.isnan(result.age_s)
    assert math.isnan(result.response_s)
    assert result.head_s > 0
    log = camera.robot.processes.log("head").read_text()
    assert log.count("off this machine's clock") == 1
    assert camera.check_lives().response_s > 0


@pytest.mark.parametrize("reliability", ["best_effort", "reliable"])
def test_nothing_vanishes_before_the_book(site, node_bundle, pictures, engine_cache, reliability):
    """A burst that finds the head's thread busy: each frame has a result, most of them a drop."""
    camera = start_head(
        site, node_bundle, pictures, engine_cache, image_reliability=reliability, queue_depth=2
    )
    robot, count = camera.robot, 20
    # As a camera sends; what ``robot.topic`` makes is reliable.
    burst = robot.observer.node.create_publisher(
        CompressedImage,
        f"{robot.namespace}/image_raw/compressed",
        QoSProfile(depth=count, reliability=ReliabilityPolicy[reliability.upper()]),
    )
    # Writer and head find each other independently: what is sent before the head has is lost.
    early = []

    def is_found():
        early.append(camera.message())
        burst.publish(early[-1])
        return len(robot.results) > 0

    robot.wait(is_found, "a frame that came to the head")
    camera.wait_for_answer(early[-1])
    before = len(robot.results)
    msgs = [camera.message(number % 4) for number in range(count)]
    for msg in msgs:
        msg.data = array("B", jpeg(pictures[0]))
    # No longer than need be: what is sent to a process that does not stir for long may get lost.
    with robot.frozen("head"):
        for msg in msgs:
            burst.publish(msg)
    behind = []

    def is_over():
        """By a frame behind the burst DDS knows what of it got lost."""
        behind.append(camera.message())
        burst.publish(behind[-1])
        return any(map(camera.results_of, behind))

    robot.wait(is_over, "a frame behind the burst")
    sent = before + count + len(behind)

    def is_told():
        values = {name: int(robot.values("head").get(name, 0)) for name in (*ACCOUNT, "frames")}
        came = values["frames"]
        is_answered = len(robot.results) == values["results"] + values["dropped"] == came
        return is_answered and came + values["lost_before_head"] == sent

    robot.wait(is_told, "a result of each frame that was not lost on its way")
    results = robot.results
    assert [result.sequence for result in results] == list(range(len(results)))
    assert len(results) == sent or reliability == "best_effort"
    dropped = [result for result in results if result.status is Status.DROPPED]
    for result in dropped:
        assert result.drop_reason is DropReason.BUSY
        assert result.reason == "the robot is busy: newer frames are waiting"
    for result in results:
        assert 0 <= result.age_s <= result.response_s
    values = {name: int(robot.values("head").get(name, 0)) for name in ACCOUNT}
    assert values["dropped"] == values["dropped_busy"] == len(dropped)
    assert values["results"] == values["robot"] == len(results) - len(dropped)
    assert values["unaccounted"] == 0


def test_frames_of_a_head_that_is_not_active_are_counted(site, node_bundle, pictures, engine_cache):
    camera = start_head(site, node_bundle, pictures, engine_cache)
    robot = camera.robot
    camera.check_lives()
    robot.observer.change_state(robot.name("head"), "deactivate")
    camera.send(camera.message())
    robot.wait(lambda: robot.values("head").get("frames_while_inactive") == "1", "the count")
    assert len(robot.results) == 1
