"""Sums over a while, against what is worked out by hand."""

import math

from codesign_ros.runtime.messages import Result, Stamp, Status
from codesign_ros.testbed.measurement import measurement, merged
from codesign_ros.types import Plan


def result(number, response_s, **changes):
    return Result(
        stamp=Stamp(number), sequence=number, epoch=1, response_s=response_s, payload_bytes=1000,
        head_s=0.01, encode_s=0.002, link_s=0.003, decode_s=0.001, tail_s=0.02, **changes,
    )  # fmt: skip


PLANS = [Plan(cut=3, reason="first"), Plan(cut=8, served_by="/robot/tail", reason="better")]


def test_what_was_reached():
    results = [(0.0, result(n, 0.1 * n)) for n in range(1, 11)]
    results.append((0.0, result(11, 9.0, status=Status.DROPPED, reason="busy")))
    found = measurement(
        "ours", None, 5.0, results, PLANS, {"robot": 0.5, "server": 1.0}, {"robot": 20_000}
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
    results = [(0.0, result(n, 0.1 if n % 2 else math.nan)) for n in range(10)]
    found = measurement("ours", None, 5.0, results, PLANS, {"robot": 0.5}, {"robot": 20_000})
    assert found.frames == 10
    assert math.isclose(found.response_ms["p95"], 100.0)


def test_nothing_was_reached():
    found = measurement("ours", 5.0, 1.0, [], PLANS[:1], {"robot": 0.0}, {"robot": 0})
    assert found.frames_s == 0.0
    assert found.plans == 0
    assert math.isnan(found.response_ms["p95"])


def test_rounds_as_one():
    def round_of(frames, duration_s, cpu_s):
        results = [(0.0, result(n, 0.1)) for n in range(frames)]
        results.append((0.0, result(99, 9.0, status=Status.DROPPED, reason="busy")))
        return measurement(
            "ours", None, duration_s, results, PLANS, {"robot": cpu_s}, {"robot": 1000}
        )

    found = merged([round_of(10, 5.0, 1.0), round_of(40, 5.0, 0.4), round_of(15, 5.0, 0.3)])
    assert (found.frames, found.duration_s, found.dropped) == (65, 15.0, {"busy": 3})
    assert (found.frames_s, found.rounds_s) == (3.0, (2.0, 8.0, 3.0))
    assert math.isclose(found.cpu_ms["robot"], 20.0)  # of 100, 10 and 20
    assert found.plans == 3
    assert len(found.reasons) == 3
