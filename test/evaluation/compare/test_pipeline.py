"""The queues, against ways of frames that were worked out by hand."""

import pytest

from codesign_ros.evaluation.compare.arrivals import Arrivals
from codesign_ros.evaluation.compare.pipeline import Finished, Pipeline, Way, Work
from codesign_ros.runtime.link.estimate import OVERHEAD_BYTES
from codesign_ros.simulation.link_rate import StateRate
from codesign_ros.types import CodesignError, LinkSpec


class Fixed:
    """Every frame needs the same."""

    def __init__(self, head_s, payload_bytes, tail_s, alone_s=0.5):
        self.made = Work(head_s, payload_bytes, tail_s, on_link_s=0.1)
        self.alone_s = alone_s

    def work(self, number, now_s, *, alone):
        return Work(self.alone_s) if alone else self.made

    def crossed(self, *transfer):
        pass


def pipeline(stations, rate_bps=8e6, **options):
    return Pipeline(stations, Way(StateRate(LinkSpec(rate_bps)), 0.01, 0.02), **options)


def test_a_frame_alone_takes_the_sum_and_a_row_of_them_the_slowest():
    payload = 100_000 - OVERHEAD_BYTES  # 0.1 s on the link
    line = pipeline(Fixed(0.05, payload, 0.02), queue_depth=100, deadline_s=100)
    for number in range(20):
        line.offer(number, 0.0)
    passages = line.finish()
    alone_s = 0.05 + 0.1 + 0.01 + 0.02 + 0.02
    done_s = [each.done_s for each in passages]
    assert done_s == pytest.approx([alone_s + 0.1 * n for n in range(20)])
    assert all(each.finished is Finished.SERVER for each in passages)
    assert passages[3].link_wait_s == pytest.approx(0.15)


def test_the_oldest_that_waits_gives_way():
    line = pipeline(Fixed(1.0, None, 0.0), queue_depth=2)
    for number in range(5):
        line.offer(number, 0.1 * number)
    found = [each.finished for each in line.finish()]
    # The first is computed; of those behind it two may wait.
    dropped = Finished.DROPPED
    assert found == [Finished.ROBOT, dropped, dropped, Finished.ROBOT, Finished.ROBOT]


def test_an_overdue_answer_is_given_by_the_robot():
    line = pipeline(Fixed(0.01, 1_000_000, 0.0), rate_bps=8e5, deadline_s=1.0)  # 10 s on the link
    for number, arrival_s in enumerate((0.0, 2.0, 20.0)):
        line.offer(number, arrival_s)
    first, second, third = line.finish()
    assert first.finished is Finished.FALLBACK
    assert first.done_s == pytest.approx(1.0 + 2 * 0.1 + 0.5)
    # While that answer is overdue nothing more is sent.
    assert (second.finished, second.sent_bytes) == (Finished.FALLBACK, 0)
    assert second.done_s == pytest.approx(2.5)
    assert third.sent_bytes == 1_000_000


def test_a_window():
    line = pipeline(Fixed(0.1, None, 0.0))
    for number in range(6):
        line.offer(number, line.settled_s(number - 2) if number >= 2 else 0.0)
    assert [each.done_s for each in line.finish()] == pytest.approx([0.1 * n for n in range(1, 7)])


def test_arrivals():
    stamps = [5_000_000_000, 5_100_000_000, 5_050_000_000, 5_300_000_000]
    recorded = Arrivals.parse("recorded", window=4, seed=0)
    assert list(recorded.times_s(stamps)) == pytest.approx([0.0, 0.1, 0.1, 0.3])
    assert list(Arrivals.parse("4hz", window=4, seed=0).times_s(stamps)) == [0, 0.25, 0.5, 0.75]
    assert list(Arrivals.parse("fast", window=4, seed=0).times_s(stamps)) == [None] * 4
    poisson = Arrivals.parse("poisson:10hz", window=4, seed=3)
    times_s = list(poisson.times_s(range(4000)))
    assert times_s == list(poisson.times_s(range(4000)))
    assert times_s[-1] == pytest.approx(400, rel=0.1)
    for text in ("10", "hz", "poisson", "poison:10hz", "-1hz"):
        with pytest.raises(CodesignError, match="is not known"):
            Arrivals.parse(text, window=4, seed=0)
