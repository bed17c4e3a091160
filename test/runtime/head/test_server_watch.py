"""When the robot computes alone: in a doubt, after the server was left, until a trial passes."""

from collections import Counter

import pytest

from codesign_ros.runtime.head.ledger import FrameLedger, Phase
from codesign_ros.runtime.head.server_watch import ServerWatch
from codesign_ros.runtime.messages import Stamp
from codesign_ros.types.plan import Plan

USUAL_S, OWN_S = 0.05, 0.06
# Usual time and least slack, with answers that never vary.
LIMIT_S = USUAL_S + 0.05


class Book:
    """What of the book of frames the watch uses."""

    def __init__(self):
        self.ledger, self.counts, self.is_alone = FrameLedger(), Counter(), False
        self.hedges = False

    def wake(self):
        pass

    def strand_all(self):
        self.counts["stranded"] += len(self.ledger.strand_all())


class Robot:
    """A watch with frames that go to the server and come back."""

    def __init__(self):
        self.book = Book()
        self.watch = ServerWatch(self.book)
        self.watch.follow(
            Plan(cut=0, epoch=1, model_id="", link_s=0.03, tail_s=0.02, server_available=True), 0.0
        )
        self.watch.own_time(OWN_S)

    def send(self, now_s, size=10_000, deadline_s=1.0):
        frame = self.book.ledger.admit(Stamp(0), lambda: None)
        frame.phase, frame.is_asked, frame.epoch = Phase.REMOTE, True, 1
        frame.sent_s, frame.sent_bytes, frame.deadline_s = now_s, size, now_s + deadline_s
        self.watch.sent(frame)
        return frame

    def answer(self, frame, now_s):
        self.watch.answered(now_s, frame.tail)
        self.watch.took(frame, now_s)
        self.book.ledger.finish(frame, None)

    def probe(self, now_s, session=0):
        self.watch.asked(now_s)
        self.watch.answered(now_s, "", session)


@pytest.fixture
def robot():
    robot = Robot()
    for number in range(100):
        frame = robot.send(0.25 * number)
        robot.answer(frame, 0.25 * number + USUAL_S)
    return robot


def test_an_overdue_answer_is_a_doubt_until_anything_comes(robot):
    first, second = robot.send(30.0), robot.send(30.05)
    assert first.deadline_s == pytest.approx(30.0 + LIMIT_S, abs=0.005)
    robot.watch.strand_overdue(30.0 + LIMIT_S + 0.01)
    assert (first.phase, second.phase) == (Phase.STRANDED, Phase.REMOTE)
    assert not robot.watch.helps
    assert robot.watch.relies
    robot.answer(second, 30.2)
    assert robot.watch.helps


def test_a_doubt_that_lasts_is_no_doubt_any_more(robot):
    robot.send(30.0)
    robot.watch.strand_overdue(30.2)
    robot.watch.check(30.4, 0.0)
    assert robot.watch.relies
    robot.watch.check(30.6, on_link_s=0.1)
    assert robot.watch.relies
    robot.watch.check(30.6, on_link_s=0.0)
    assert robot.watch.reason == "no answer of any kind for 0.6 s"


def test_without_a_doubt_silence_lasts_longer(robot):
    robot.watch.asked(30.0)
    robot.watch.check(31.9, 0.0)
    assert robot.watch.relies
    robot.watch.check(32.1, 0.0)
    assert robot.watch.reason == "no answer of any kind for 2.1 s"


def test_a_late_answer_shifts_the_limit_by_no_more_than_the_limit(robot):
    frame = robot.send(30.0)
    robot.watch.strand_overdue(30.2)
    robot.answer(frame, 33.0)
    assert robot.watch.helps
    again = robot.send(40.0)
    assert LIMIT_S < again.deadline_s - 40.0 < 2.2 * LIMIT_S


def test_on_a_link_that_became_thin_the_second_late_frame_is_the_last(robot):
    for start_s in (30.0, 31.0):
        frame = robot.send(start_s)
        robot.watch.strand_overdue(start_s + 0.3)
        robot.answer(frame, start_s + 0.5)
    assert robot.watch.reason == "2 answers in a row did not come in time"
    for number in range(8):  # small ones come back at once
        robot.probe(32.0 + 0.25 * number)
    assert not robot.watch.helps
    assert robot.watch.trial_bytes(34.0) == 30_000
    robot.watch.tried(7, 30_000, 34.0)
    assert robot.watch.trial_bytes(34.2) == 0
    robot.watch.probe_answered(6, 34.2)  # another probe
    robot.watch.probe_answered(7, 34.8)  # takes too long for frames
    assert not robot.watch.helps
    assert robot.watch.trial_bytes(35.7) == 0  # others have the link as well
    assert robot.watch.trial_bytes(35.9) == 30_000
    robot.watch.tried(8, 30_000, 35.9)
    robot.watch.probe_answered(8, 35.9 + USUAL_S)
    assert robot.watch.helps


def test_a_trial_without_an_answer_is_tried_again(robot):
    robot.watch.left("it has gone", 30.0)
    for number in range(20):
        robot.probe(31.0 + 0.25 * number)
    robot.watch.tried(7, 30_000, 36.0)
    assert robot.watch.trial_bytes(38.9) == 0
    assert robot.watch.trial_bytes(39.1) == 0  # others have the link as well
    assert robot.watch.trial_bytes(40.7) == 15_000  # the link may hold no more


def test_a_trial_is_lost_where_what_was_sent_after_it_is_answered(robot):
    robot.watch.left("it has gone", 30.0)
    for number in range(20):
        robot.probe(31.0 + 0.25 * number)
    robot.watch.tried(7, 30_000, 36.0)
    robot.watch.probe_answered(8, 36.3)
    assert robot.watch.trial_bytes(36.8) == 0
    assert robot.watch.trial_bytes(37.1) == 15_000
    robot.watch.tried(9, 15_000, 37.1)
    robot.watch.probe_answered(7, 37.2)  # it says nothing any more
    assert not robot.watch.helps
    robot.watch.probe_answered(9, 37.2)
    assert robot.watch.helps


def test_a_trial_is_a_frame_and_what_the_link_lets_through_at_once(robot):
    robot.watch.left("it has gone", 30.0)
    for number in range(4):
        robot.probe(31.0 + 0.25 * number)
    assert robot.watch.trial_bytes(32.0, burst_bytes=4_000) == 14_000
    assert robot.watch.trial_bytes(32.0, burst_bytes=90_000) == 30_000


def test_small_answers_that_wait_behind_a_trial_have_no_hole(robot):
    robot.watch.left("it has gone", 30.0)
    for number in range(4):
        robot.probe(31.0 + 0.25 * number)
    robot.watch.tried(7, 30_000, 32.0)
    robot.watch.asked(32.1)
    robot.watch.check(34.5, 0.0)
    robot.watch.answered(34.9, "")
    robot.watch.probe_answered(7, 34.9)
    assert robot.watch.trial_bytes(36.4) == 30_000


def test_no_trial_before_small_probes_have_come_for_a_while(robot):
    robot.watch.left("it has gone", 30.0)
    assert robot.watch.trial_bytes(31.0) == 0
    robot.probe(31.0)
    assert robot.watch.trial_bytes(31.3) == 0
    assert robot.watch.trial_bytes(31.5) == 30_000


@pytest.mark.parametrize(("session", "trial_bytes"), [(7, 0), (8, 30_000)])
def test_a_server_that_started_anew_is_tried_at_its_first_answer(robot, session, trial_bytes):
    """It was gone for that: neither has the link to be learned, nor it to prove itself for long."""
    robot.probe(29.0, session=7)
    robot.send(30.0)
    robot.watch.check(33.0, 0.0)
    assert robot.watch.reason
    robot.probe(35.0, session=session)
    assert not robot.watch.begins_to_return(35.0)
    assert robot.watch.trial_bytes(35.0) == trial_bytes


def test_where_a_trial_of_a_server_that_started_anew_fails_the_rate_is_learned(robot):
    """The link may have become thin in the meantime."""
    robot.probe(29.0, session=7)
    frame = robot.send(30.0)
    robot.watch.check(33.0, 0.0)
    robot.probe(35.0, session=8)
    robot.watch.tried(1, 30_000, 35.0)
    for number in range(4):
        robot.probe(35.2 + 0.25 * number, session=8)
    assert not robot.watch.begins_to_return(36.0)
    robot.watch.probe_answered(2, 36.0)  # so the trial is lost
    assert robot.watch.begins_to_return(36.0)
    assert robot.watch.trial_bytes(36.1) == 0
    assert robot.watch.learned(36.2, 10e6, is_sure=True)
    assert robot.watch.trial_bytes(37.6) == 15_000
    robot.watch.probe_answered(3, 38.0)
    assert not robot.watch.begins_to_return(38.1)  # once
    assert frame.sent_bytes == 10_000


def test_the_first_answer_of_another_server_is_no_new_start(robot):
    for number, tail in enumerate(("/robot/tail", "/edge/tail"), 1):
        plan = Plan(cut=0, epoch=number, model_id="", served_by=tail, server_available=True)
        robot.watch.follow(plan, 28.0 + number)
        if tail == "/robot/tail":
            robot.watch.answered(29.5, tail, 7)
    robot.watch.left("it has gone", 31.0)
    robot.watch.answered(32.0, "/edge/tail", 8)
    assert robot.watch.trial_bytes(32.0) == 0


def test_a_frame_that_was_late_before_it_was_sent_has_the_usual_time(robot):
    frame = robot.send(30.0, deadline_s=-5.0)
    assert frame.deadline_s == pytest.approx(30.0 + USUAL_S, abs=0.005)


def test_a_deadline_before_the_limit_counts(robot):
    assert robot.send(30.0, deadline_s=0.08).deadline_s == pytest.approx(30.08)


def test_answers_of_an_older_plan_say_nothing_of_the_new_one(robot):
    frame = robot.send(30.0)
    robot.watch.follow(
        Plan(cut=3, epoch=2, model_id="", link_s=0.5, tail_s=0.0, server_available=True), 30.0
    )
    robot.answer(frame, 30.05)
    assert robot.watch.usual_s == 0.5


def test_a_new_plan_of_a_server_that_had_gone_is_followed_at_once(robot):
    robot.watch.left("it has gone", 30.0)
    robot.watch.follow(Plan(cut=15, epoch=2, model_id=""), 31.0)
    assert not robot.watch.helps
    robot.watch.follow(Plan(cut=0, epoch=3, model_id="", server_available=True), 32.0)
    assert robot.watch.helps


def test_a_new_plan_of_a_server_that_was_late_needs_a_trial_too(robot):
    for start_s in (30.0, 31.0):
        frame = robot.send(start_s)
        robot.watch.strand_overdue(start_s + 0.3)
        robot.answer(frame, start_s + 0.5)
    robot.watch.follow(Plan(cut=0, epoch=3, model_id="", server_available=True), 32.0)
    assert not robot.watch.helps


def test_a_new_plan_is_tried_with_frames_of_its_own_size(robot):
    """Where the old one's were too large for the link, it was left for them."""
    for start_s in (30.0, 31.0):
        frame = robot.send(start_s, size=400_000)
        robot.watch.strand_overdue(start_s + 0.3)
        robot.answer(frame, start_s + 0.5)
    for number in range(20):
        robot.probe(32.0 + 0.2 * number)
    robot.watch.tried(7, 400_000, 36.0)
    smaller = Plan(cut=1, epoch=2, model_id="", server_available=True, payload_bytes=2_000.4)
    robot.watch.follow(smaller, 36.5)
    assert robot.watch.trial_bytes(37.0) == 6_000
    robot.watch.tried(8, 6_000, 37.0)
    robot.watch.probe_answered(7, 37.1)  # of the old one
    assert not robot.watch.helps
    robot.watch.probe_answered(8, 37.2)
    assert robot.watch.helps


def test_the_same_work_takes_the_same_time_under_the_next_plan(robot):
    robot.watch.follow(Plan(cut=0, epoch=2, model_id="", link_s=9.0, server_available=True), 30.0)
    assert robot.watch.usual_s == pytest.approx(USUAL_S, abs=0.005)


def returned(robot):
    """Have the server go without a word at 30 s, and come back at 35 s."""
    robot.watch.asked(30.0)
    robot.watch.check(32.5, 0.0)
    robot.probe(34.0)
    robot.probe(34.5)
    robot.watch.tried(7, 30_000, 34.9)
    robot.watch.probe_answered(7, 35.0)
    assert robot.watch.relies


def test_after_a_return_the_robot_hedges_for_a_while(robot):
    assert not robot.book.hedges
    returned(robot)
    assert robot.book.hedges
    robot.probe(40.9)
    assert robot.book.hedges
    robot.probe(41.1)
    assert not robot.book.hedges


def test_a_server_that_is_silent_on_probation_is_left_though_the_robot_was_first(robot):
    returned(robot)
    for start_s in (36.0, 36.5):
        frame = robot.send(start_s)
        robot.watch.beaten(frame)
        robot.book.ledger.finish(frame, None)
        robot.watch.check(start_s + 0.4, 0.0)
        assert not robot.watch.helps
    assert robot.watch.reason == "2 answers in a row did not come in time"


def test_a_server_that_is_slower_than_the_robot_on_probation_is_relied_on(robot):
    returned(robot)
    for number in range(20):
        start_s = 36.0 + 0.25 * number
        frame = robot.send(start_s)
        robot.watch.beaten(frame)
        robot.book.ledger.finish(frame, None)
        robot.watch.answered(start_s + USUAL_S, "")
        robot.watch.late(frame.sequence, start_s + USUAL_S)
        robot.watch.check(start_s + 0.2, 0.0)
        assert robot.watch.helps
    assert robot.send(50.0).deadline_s == pytest.approx(50.0 + LIMIT_S, abs=0.005)


def test_a_server_that_got_a_new_plan_ready_is_returned_to_as_soon_as_at_first(robot):
    returned(robot)
    robot.watch.check(36.0, 0.0)
    robot.watch.asked(36.0)
    for now_s in (36.9, 37.8, 38.5):
        robot.watch.check(now_s, 0.0)
    for number in range(3):
        robot.probe(39.0 + 0.25 * number)
    assert robot.watch.trial_bytes(39.5) == 0  # it was gone again so soon
    robot.watch.follow(Plan(cut=0, epoch=2, model_id="", server_available=True), 39.5)
    assert robot.watch.trial_bytes(39.5) == 30_000
    assert not robot.watch.relies


def test_a_robot_that_stood_still_itself_does_not_blame_the_server(robot):
    robot.watch.check(30.0, 0.0)
    robot.watch.asked(30.1)
    robot.watch.check(36.0, 0.0)  # the answers of this time were not read yet
    assert robot.watch.relies
    for number in range(1, 6):
        robot.watch.check(36.0 + 0.5 * number, 0.0)
    assert robot.watch.reason == "no answer of any kind for 2.5 s"


@pytest.mark.parametrize(("rate_bps", "waits"), [(10e6, False), (0.1e6, True)])
def test_the_rate_is_learned_anew_before_the_first_trial(robot, rate_bps, waits):
    """On a link that is too thin now, another plan has its time before a trial takes it."""
    frame = robot.send(30.0)
    robot.watch.check(33.0, 0.0)
    assert robot.watch.reason
    assert not robot.watch.begins_to_return(33.0)
    for number in range(5):
        robot.probe(33.1 + 0.2 * number)
    assert robot.watch.begins_to_return(34.0)
    assert not robot.watch.begins_to_return(34.0)  # once
    assert robot.watch.trial_bytes(34.1) == 0
    assert not robot.watch.learned(34.1, rate_bps, is_sure=False)
    assert robot.watch.learned(34.2, rate_bps, is_sure=True)
    assert not robot.watch.learned(34.2, rate_bps, is_sure=True)
    assert (robot.watch.trial_bytes(34.2) == 0) == waits
    assert robot.watch.trial_bytes(36.3) == 3 * frame.sent_bytes


def test_what_cannot_be_learned_soon_must_do(robot):
    robot.send(30.0)
    robot.watch.check(33.0, 0.0)
    for number in range(5):
        robot.probe(33.1 + 0.2 * number)
    assert robot.watch.begins_to_return(34.0)
    assert robot.watch.learned(35.6, 10e6, is_sure=False)
