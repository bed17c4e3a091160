"""Sums over a while, against what is worked out by hand."""

import math

from codesign_ros.runtime.messages import Result, Stamp, Status
from codesign_ros.testbed.measurement import Seen, measurement, merged
from codesign_ros.types.plan import Plan


def result(number, response_s, **changes):
    return Result(
        stamp=Stamp(number), sequence=number, epoch=1, response_s=response_s, payload_bytes=1000,
        head_s=0.01, encode_s=0.002, link_s=0.003, decode_s=0.001, tail_s=0.02, **changes,
    )  # fmt: skip


PLANS = [Plan(cut=3, reason="first"), Plan(cut=8, served_by="/robot/tail", reason="better")]


def test_what_was_reached():
    results = [result(n, 0.1 * n) for n in range(1, 11)]
    results.append(result(11, 9.0, status=Status.DROPPED, reason="busy"))
    found = measurement(
        "ours", None, 5.0, [Seen(results, PLANS)], {"robot": 0.5, "server": 1.0}, {"robot": 20_000}
    )
    assert (found.frames, found.frames_s, found.dropped) == (10, 2.0, {"busy": 1})
    assert math.isclose(found.response_ms["p50"], 550.0)
    assert math.isclose(found.stages_ms[0], 12.0)
    assert math.isclose(found.stages_ms[2], 21.0)
    assert found.cpu_ms == {"robot": 50.0, "server": 100.0}
    assert found.link_bytes == {"robot": 2000.0}
    assert found.plans == 1
    assert found.reasons == (f"{found.plan}: better",)


def test_frames_whose_stamps_cannot_be_right_count_but_for_their_times():
    results = [result(n, 0.1 if n % 2 else math.nan) for n in range(10)]
    found = measurement(
        "ours", None, 5.0, [Seen(results, PLANS)], {"robot": 0.5}, {"robot": 20_000}
    )
    assert found.frames == 10
    assert math.isclose(found.response_ms["p95"], 100.0)


def test_nothing_was_reached():
    found = measurement("ours", 5.0, 1.0, [Seen([], PLANS[:1])], {"robot": 0.0}, {"robot": 0})
    assert found.frames_s == 0.0
    assert found.plans == 0
    assert math.isnan(found.response_ms["p95"])


def test_rounds_as_one():
    def round_of(frames, duration_s, cpu_s):
        results = [result(n, 0.1) for n in range(frames)]
        results.append(result(99, 9.0, status=Status.DROPPED, reason="busy"))
        return measurement(
            "ours", None, duration_s, [Seen(results, PLANS)], {"robot": cpu_s}, {"robot": 1000}
        )

    found = merged([round_of(10, 5.0, 1.0), round_of(40, 5.0, 0.4), round_of(15, 5.0, 0.3)])
    assert (found.frames, found.duration_s, found.dropped) == (65, 15.0, {"busy": 3})
    assert (found.frames_s, found.rounds_s) == (3.0, (2.0, 8.0, 3.0))
    assert math.isclose(found.cpu_ms["robot"], 20.0)  # of 100, 10 and 20
    assert found.plans == 3
    assert len(found.reasons) == 3


def test_robots_together():
    first = Seen([result(n, 0.1) for n in range(6)], PLANS[1:])
    second = Seen([result(n, 0.3) for n in range(2)], PLANS)
    found = measurement("ours", None, 2.0, [first, second], {"robot": 0.8}, {"robot": 1000}, 0.5)
    assert (found.frames_s, found.robots_s) == (4.0, (3.0, 1.0))
    assert found.cpu_ms == {"robot": 100.0}
    assert (found.plans, found.accuracy) == (1, 0.5)
    assert math.isclose(found.response_ms["p95"], 300.0)


def test_what_is_lost():
    results = [result(n, 0.1) for n in range(8)]
    dropped = [result(9, 1.0, status=Status.DROPPED, reason="busy")]

    def lost(rate_hz, results, robots=1):
        seen = [Seen(results, PLANS)] * robots
        return measurement("ours", rate_hz, 2.0, seen, {"robot": 0.1}, {"robot": 1}).lost

    assert math.isclose(lost(None, results + dropped), 1 / 9)
    assert math.isclose(lost(5.0, results), 0.2)  # two of ten still wait
    assert math.isclose(lost(5.0, results, robots=2), 0.2)
    assert lost(3.0, results) == 0.0
    assert lost(None, []) == 0.0


def test_accuracy_of_rounds_is_that_of_their_frames():
    def round_of(frames, accuracy):
        seen = [Seen([result(n, 0.1) for n in range(frames)], PLANS)]
        return measurement("ours", None, 1.0, seen, {"robot": 1.0}, {"robot": 1}, accuracy)

    found = merged([round_of(30, 0.9), round_of(10, 0.5), round_of(5, None)])
    assert math.isclose(found.accuracy, 0.8)
    assert merged([round_of(5, None)]).accuracy is None
