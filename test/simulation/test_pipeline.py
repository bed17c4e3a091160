"""The queues, against ways of frames that were worked out by hand."""

import pytest
import simpy

from codesign_ros.simulation.line import Line
from codesign_ros.simulation.link_rate import StateRate
from codesign_ros.simulation.pipeline import Finished, Pipeline, Way
from codesign_ros.simulation.work import Work
from codesign_ros.types.links import LinkSpec


class Fixed:
    """Every frame asks for the same."""

    def __init__(self, work, alone_s=0.5):
        self.made, self.alone_s = work, alone_s
        self.passages = {}

    def asks(self, number, now_s, *, alone):
        return Work(self.alone_s) if alone else self.made

    def settled(self, passage):
        assert passage.number not in self.passages
        self.passages[passage.number] = passage


def run(work, arrivals_s, rate_bps=8e6, **options):
    """Let frames come at times, 10 ms there and 20 ms back; returns them in order."""
    env, stations = simpy.Environment(), Fixed(work)
    uplink = Line(env, StateRate(LinkSpec(rate_bps)), 0.01)
    downlink = Line(env, StateRate(LinkSpec(1.0)), 0.02)
    way = Way(uplink, downlink, simpy.Resource(env))
    pipeline = Pipeline(env, stations, way, **{"queue_depth": 100, **options})

    def come():
        for number, arrival_s in enumerate(arrivals_s):
            yield env.timeout(arrival_s - env.now)
            pipeline.take(number)

    env.process(come())
    env.run(until=1000)
    assert sorted(stations.passages) == list(range(len(arrivals_s)))
    return [stations.passages[number] for number in range(len(arrivals_s))]


def sent(head_s, payload_bytes, tail_s, on_link_s=0.1):
    return Work(head_s, payload_bytes, tail_s, is_sent=True, on_link_s=on_link_s)


def test_a_frame_alone_takes_the_sum_and_a_row_of_them_the_slowest():
    passages = run(sent(0.05, 100_000, 0.02), [0.0] * 20)  # 0.1 s on the link
    alone_s = 0.05 + 0.1 + 0.01 + 0.02 + 0.02
    assert [each.done_s for each in passages] == pytest.approx(
        [alone_s + 0.1 * n for n in range(20)]
    )
    assert all(each.finished is Finished.SERVER for each in passages)
    for each in passages:
        assert each.link_s == pytest.approx(0.1 + 0.01 + 0.02)
        assert each.tail_s == pytest.approx(0.02)
    # The second is computed while the first is on the link. Another may wait behind it, and the
    # robot begins with no more until that one has the link.
    assert passages[1].begin_s == pytest.approx(0.05)
    assert passages[2].begin_s == pytest.approx(0.15)
    assert passages[9].link_wait_s == pytest.approx(0.05)


def test_frames_wait_for_the_robot_and_not_on_a_slow_link():
    """What the link cannot take is dropped before it is computed, so that answers are young."""
    passages = run(
        sent(0.01, 200_000, 0.0), [0.05 * n for n in range(200)], queue_depth=3, deadline_s=9.0
    )
    answered = [each for each in passages if each.finished is Finished.SERVER]
    assert len(answered) == pytest.approx(10.0 / 0.2, abs=4)
    waits_s = [each.done_s - each.arrival_s for each in answered]
    # One on the link, one behind it, three before the robot: five times 0.2 s at most.
    assert max(waits_s) < 5 * 0.2 + 0.05


def test_the_oldest_that_waits_gives_way():
    found = [each.finished for each in run(Work(1.0), [0.1 * n for n in range(5)], queue_depth=2)]
    # The first is computed; of those behind it two may wait.
    dropped = Finished.DROPPED
    assert found == [Finished.ROBOT, dropped, dropped, Finished.ROBOT, Finished.ROBOT]


def test_an_overdue_answer_is_given_by_the_robot():
    first, second, third = run(
        sent(0.01, 1_000_000, 0.0), [0.0, 2.0, 20.0], rate_bps=8e5, deadline_s=1.0
    )  # 10 s on the link
    assert first.finished is Finished.FALLBACK
    assert first.done_s == pytest.approx(1.0 + 2 * 0.1 + 0.5)
    # While that answer is overdue nothing more is sent.
    assert (second.finished, second.sent_bytes) == (Finished.FALLBACK, 0)
    assert second.done_s == pytest.approx(2.5)
    assert third.sent_bytes == 1_000_000


def test_a_late_answer_counts_where_the_robot_has_none_yet():
    # Overdue at 1.2 s, across at 1.3: the robot would be done at 1.7.
    (only,) = run(sent(0.01, 100_000, 0.0), [0.0], rate_bps=8e5 / 1.26, deadline_s=1.0)
    assert only.finished is Finished.SERVER
    assert only.done_s == pytest.approx(0.01 + 1.26 + 0.03)
    # What the robot had begun a second time is nowhere in it.
    assert (only.begin_s, only.head_s) == (0.0, 0.01)
    assert only.link_wait_s + only.link_s + only.tail_s == pytest.approx(1.26 + 0.03)


def test_what_is_overdue_before_it_has_the_link_stays_on_the_robot():
    # The second waits behind the first, 3 s on the link, and is overdue before.
    first, second = run(
        sent(0.01, 300_000, 0.0, on_link_s=0.0), [0.0, 0.0], rate_bps=8e5, deadline_s=1.0
    )
    assert first.finished is Finished.FALLBACK
    assert (second.finished, second.sent_bytes) == (Finished.FALLBACK, 0.0)
