"""Simulated robots, links and servers against closed forms, and against the planner's formulas."""

import itertools
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st

from codesign_ros.cli.main import main
from codesign_ros.cost.tables import Axes, CostTables
from codesign_ros.planning.objective import Objective, pace_s
from codesign_ros.planning.policies import Situation
from codesign_ros.planning.problem import Problem
from codesign_ros.runtime.link.meter import LinkMeter
from codesign_ros.simulation.fleet import (
    Conditions,
    fleet_curve,
    most_robots,
    run_fleet,
    simulate_fleet,
)
from codesign_ros.simulation.line import Line
from codesign_ros.simulation.link_rate import StateRate
from codesign_ros.simulation.pipeline import Pipeline, Way
from codesign_ros.simulation.planner import LivePlanner
from codesign_ros.simulation.robot import Robot
from codesign_ros.simulation.work import STEADY, Recorded, Spread, Work, gaps_s
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import Structure
from codesign_ros.types.links import LinkSpec, RadioState


def bed(work, *, rate_bps=1e9, delay_s=0.0, burst_bytes=0.0, states=(), depth=3, spread=STEADY):
    """A robot of its own link and server."""
    env = simpy.Environment()
    up = Line(env, StateRate(LinkSpec.radio(states) if states else LinkSpec(rate_bps)), delay_s,
              burst_bytes)  # fmt: skip
    down = Line(env, StateRate(LinkSpec(rate_bps)), delay_s)
    rng = np.random.default_rng(0)
    robot = Robot(env, work, up, down, simpy.Resource(env), rng, spread, depth)
    return env, robot


durations = st.floats(0.001, 0.1)


@settings(max_examples=60, deadline=None)
@given(durations, durations, durations, st.floats(0, 0.05), st.integers(1, 4))
def test_the_pace_is_the_planners_formula(head_s, link_s, tail_s, delay_s, window):
    rate_bps = 1e6
    work = Work(head_s, link_s * rate_bps / 8, tail_s, is_sent=True)
    env, robot = bed(work, rate_bps=rate_bps, delay_s=delay_s, depth=8)
    robot.play_window(window)
    env.run(until=200 * (head_s + link_s + tail_s + 2 * delay_s))
    answered_s = robot.seen.answered_s[100:]
    pace = (answered_s[-1] - answered_s[0]) / (len(answered_s) - 1)
    latency_s = head_s + link_s + tail_s + 2 * delay_s
    assert pace == pytest.approx(pace_s(head_s, link_s, tail_s, latency_s, window), rel=0.02)


def test_one_frame_takes_the_sum_of_its_stages():
    work = Work(0.01, 1000, 0.02, is_sent=True, answer_bytes=125)
    env, robot = bed(work, rate_bps=1e6, delay_s=0.003)
    robot.frame()
    env.run(until=1)
    assert robot.seen.responses_s == pytest.approx([0.01 + 0.008 + 0.003 + 0.02 + 0.001 + 0.003])


@pytest.mark.parametrize("used", [0.5, 0.8])
def test_waiting_is_that_of_one_server_with_exponential_arrivals(used):
    """Pollaczek and Khinchine for a constant time of service."""
    service_s = 0.01
    env, robot = bed(Work(service_s), depth=10_000)
    robot.play(gaps_s("exponential", used / service_s, np.random.default_rng(1)))
    env.run(until=2000)
    expected_s = service_s + used * service_s / (2 * (1 - used))
    assert np.mean(robot.seen.responses_s) == pytest.approx(expected_s, rel=0.03)


@given(
    st.lists(st.tuples(st.floats(0, 2), st.floats(1, 5000)), min_size=1, max_size=8),
    st.lists(st.tuples(st.floats(1e3, 1e5), st.floats(0.1, 2)), min_size=1, max_size=3),
    st.floats(0, 5000),
)
@settings(max_examples=40, deadline=None)
def test_a_line_passes_what_its_bucket_gets_and_no_more(messages, states, burst_bytes):
    env = simpy.Environment()
    states = [RadioState(*state) for state in states]
    line = Line(env, StateRate(LinkSpec.radio(states)), burst_bytes=burst_bytes)
    passed = []

    def play():
        for gap_s, size in messages:
            yield env.timeout(gap_s)
            began_s = env.now
            yield from line.cross(size)
            passed.append((began_s, env.now, size))

    env.process(play())
    env.run()

    period_s = sum(state.mean_s for state in states)

    def bytes_until(time_s):
        """What the rate gives from 0 on, by whole periods and the rest of one."""
        whole, rest_s = divmod(time_s, period_s)
        total = whole * sum(s.mean_s * s.bandwidth_bps for s in states) / 8
        for state in states:
            part_s = min(rest_s, state.mean_s)
            total += part_s * state.bandwidth_bps / 8
            rest_s -= part_s
        return total

    tokens, filled_s = burst_bytes, 0.0
    for began_s, ended_s, size in passed:
        tokens = min(burst_bytes, tokens + bytes_until(began_s) - bytes_until(filled_s))
        missing = max(0.0, size - tokens)
        tokens = max(0.0, tokens - size)
        filled_s = ended_s
        got = bytes_until(ended_s) - bytes_until(began_s)
        assert got == pytest.approx(missing, abs=1e-3, rel=1e-6)


def test_a_message_outlasts_a_state():
    env = simpy.Environment()
    line = Line(env, StateRate(LinkSpec.radio((RadioState(8000, 1.0), RadioState(800, 1.0)))))
    env.process(line.cross(1050))
    env.run()
    assert env.now == pytest.approx(1.5)


@settings(max_examples=30, deadline=None)
@given(
    st.floats(1, 200),
    st.integers(1, 5),
    st.sampled_from(["rate", "exponential"]),
    st.booleans(),
)
def test_every_frame_is_answered_dropped_or_still_there(rate_hz, depth, arrivals, is_sent):
    env, robot = bed(Work(0.02, 2000, 0.01, is_sent), rate_bps=1e6, depth=depth)
    came = 0

    def counted():
        nonlocal came
        for gap_s in gaps_s(arrivals, rate_hz, np.random.default_rng(2)):
            yield gap_s
            came += 1

    robot.play(counted())
    env.run(until=20)
    seen = robot.seen
    inside = came - len(seen.responses_s) - len(seen.dropped_s)
    assert 0 <= inside <= depth + 6
    capacity_hz = 1 / 0.02
    if rate_hz < 0.5 * capacity_hz and arrivals == "rate":
        assert not seen.dropped_s
    assert min(seen.responses_s, default=1) >= 0.02 - 1e-9


def test_spread_keeps_the_mean():
    rng = np.random.default_rng(3)
    spread = Spread(head=0.5, tail=0.2, payload=0.1)
    drawn = [spread.draw(Work(1.0, 100.0, 2.0, True), rng) for _ in range(20_000)]
    heads = np.array([work.head_s for work in drawn])
    assert heads.mean() == pytest.approx(1.0, rel=0.02)
    assert heads.std() == pytest.approx(0.5, rel=0.05)
    assert np.mean([work.tail_s for work in drawn]) == pytest.approx(2.0, rel=0.02)


def test_recorded_frames_come_as_they_were():
    slow, fast = Work(0.1, 10.0, 0.2, True), Work(0.01, 5.0, 0.02, True)
    rng = np.random.default_rng(5)
    drawn = [Recorded((slow, fast, fast)).draw(Work(9.0), rng) for _ in range(6000)]
    assert {*drawn} == {slow, fast}
    assert drawn.count(slow) == pytest.approx(2000, rel=0.1)


def tables():
    """Two segments: all on the robot 200 ms; a frame of 40 kB; cut 1 sends 4 kB after 50 ms."""
    s, one = 1, np.zeros((1, 1, 1))
    return CostTables(
        axes=Axes((Structure.S3,)),
        head_s=np.array([0.0, 0.05, 0.2]).reshape(3, s, 1),
        encode_s=np.zeros((3, 1)),
        payload_bytes=np.array([[40_000.0], [4_000.0], [0.0]]),
        tail_s=np.array([0.01, 0.008, 0.0]).reshape(1, 3, s, 1),
        decode_s=np.zeros((1, 3, 1)),
        load_fraction=np.array([0.0, 0.5, 1.0]),
        structure_loss=one,
        codec_loss=np.zeros((3, 1, 1, 1)),
    )


class Follower:
    """A robot whose frames ask for what its planner's plan in force costs."""

    def __init__(self, env, problem, states):
        up = Line(env, StateRate(LinkSpec.radio(states)))
        way = Way(up, Line(env, StateRate(LinkSpec(1e9))), simpy.Resource(env))
        self._pipeline = Pipeline(env, self, way, 3)
        self._pipeline.probe()
        self.planner = LivePlanner("ours", problem, (None, None), self._pipeline.meter)
        self.settled_s = []
        env.process(self._run(env))
        env.process(self._look(env))

    def _run(self, env):
        for number in itertools.count():
            yield env.timeout(0.2)
            self._pipeline.take(number)

    def _look(self, env):
        while True:
            yield env.timeout(0.5)
            self.planner.look(env.now)

    def asks(self, number, now_s, *, alone):
        plan = self.planner.plans[-1].solution.best
        return Work.of_cost(plan.prediction, bool(plan.candidate.server), 0.0)

    def settled(self, passage):
        self.settled_s.append((passage.done_s, passage.done_s - passage.arrival_s))


def test_the_planner_follows_a_link_that_becomes_slow():
    # 100 Mbit/s: the frame takes 3 ms. 2 Mbit/s: 160 ms, and what cut 1 sends 16.
    states = (RadioState(100e6, 20.0), RadioState(2e6, 60.0))
    problem = Problem(tables(), (LinkSpec(100e6),), Objective.LATENCY)
    env = simpy.Environment()
    robot = Follower(env, problem, states)
    env.run(until=70)
    first, *_, last = robot.planner.plans
    assert (first.plan.cut, last.plan.cut) == (0, 1)
    assert 20 < last.since_s < 40
    # What the head's own meter made of the simulated frames.
    assert robot.planner.rate_bps == pytest.approx(2e6, rel=0.3)
    responses_s = [r for at_s, r in robot.settled_s if at_s > last.since_s + 5]
    assert np.mean(responses_s) == pytest.approx(0.05 + 0.016 + 0.008, rel=0.05)


def test_the_planner_knows_the_states_of_its_link():
    """Cut 1 sends 32 kbit: 0.6 ms by the mean rate, and 64 ms for a sixth of the frames."""
    link = LinkSpec.radio((RadioState(60e6, 5.0), RadioState(0.5e6, 1.0)))
    problem = Problem(tables(), (link,), Objective.LATENCY, late_share=0.1)
    first = LivePlanner("ours", problem, (None, None), LinkMeter()).plans[0]
    assert first.plan.cut == 1  # 122 ms
    meter = LinkMeter()
    meter.bandwidth_bps = link.bandwidth_bps / 10  # and so is each state
    assert LivePlanner("ours", problem, (None, None), meter).plans[0].plan.cut == 2
    steady = replace(problem, late_share=None, links=(LinkSpec(link.bandwidth_bps),))
    assert LivePlanner("ours", steady, (None, None), meter).plans[0].plan.cut == 1


@pytest.fixture
def situation():
    return Situation(Problem(tables(), (LinkSpec(1e9),)))


CONDITIONS = Conditions(rate_hz=4.0, deadline_s=0.1, seconds=5.0)


def test_a_fleet_fills_its_server(situation):
    # All that is sent keeps the server for 10 ms: 100 frames a second, 25 robots at 4 Hz.
    few, many = (simulate_fleet(situation, "server_only_raw", n, CONDITIONS) for n in (20, 40))
    assert few.keeps(0.1)
    assert few.frames_s == pytest.approx(4, rel=0.02)
    assert few.server_busy == pytest.approx(0.8, abs=0.05)
    assert not many.keeps(0.1)
    assert many.frames_s == pytest.approx(2.5, rel=0.1)
    # Alone a robot is too slow for the deadline, however many there are.
    for robots in (1, 50):
        alone = simulate_fleet(situation, "device_only", robots, CONDITIONS)
        assert alone.p95_s == pytest.approx(0.2)
        assert alone.server_busy == alone.link_busy == 0


def test_the_most_robots_lie_where_the_server_is_full(situation):
    points = list(fleet_curve(situation, ["server_only_raw"], [40, 5, 10], CONDITIONS))
    assert [point.robots for point in points] == [5, 10, 40]
    count, is_more = most_robots(situation, "server_only_raw", points, CONDITIONS)
    assert not is_more
    assert 22 <= count <= 26
    assert most_robots(situation, "server_only_raw", points[:1], CONDITIONS) == (5, True)


def test_the_same_seed_gives_the_same(situation):
    varied = Conditions(20.0, 0.1, 2.0, "exponential", Spread(0.2, 0.2, 0.2), seed=7)
    once, again = (simulate_fleet(situation, "server_only_raw", 5, varied) for _ in range(2))
    assert once == again
    json.dumps(once.to_json())


def test_ours_is_planned_for_all_together(situation):
    # At 100 Hz one server serves one robot: the others have their own way or none.
    point = simulate_fleet(situation, "ours", 10, CONDITIONS)
    assert sum(count for _, count in point.plans) == 10
    refused = simulate_fleet(situation, "ours", 50, Conditions(20.0, 0.1, 1.0))
    assert refused.refused
    assert refused.to_json()["p95_s"] is None


def test_ours_sends_while_the_server_has_room(situation):
    # 20 robots at 4 Hz keep the server busy for 0.8 of the time: none has to compute alone.
    point = simulate_fleet(situation, "ours", 20, CONDITIONS)
    assert point.keeps(0.1)
    assert point.server_busy == pytest.approx(0.8, abs=0.05)
    # 40 do not fit: as many go there as may, and the others keep their rate by themselves.
    point = simulate_fleet(situation, "ours", 40, CONDITIONS)
    assert point.dropped == 0
    assert 0.7 < point.server_busy < 1


def test_robots_share_one_line():
    works = [Work(0.0, 1e5, 0.0, True)] * 4
    seen, _, busy_s = run_fleet(works, LinkSpec(8e6), Conditions(2.0, 1.0, 10.0))
    # 4 x 2 frames a second of 0.1 s each.
    assert busy_s == pytest.approx(8.0, abs=0.5)
    assert sum(len(each.responses_s) for each in seen) == pytest.approx(64, abs=3)


@pytest.mark.parametrize(("arrivals", "rate_hz"), [("never", 1.0), ("rate", 0.0)])
def test_arrivals_that_make_no_sense(arrivals, rate_hz):
    with pytest.raises(CodesignError, match="rate or exponential"):
        next(gaps_s(arrivals, rate_hz, np.random.default_rng(0)))


def test_even_arrivals_have_a_phase():
    gaps = list(itertools.islice(gaps_s("rate", 10.0, np.random.default_rng(0)), 4))
    assert 0 <= gaps[0] < 0.1
    assert gaps[1:] == [0.1] * 3


def test_a_window_must_fit_into_the_queue():
    _, robot = bed(Work(0.01), depth=3)
    with pytest.raises(CodesignError, match="window of 4 frames does not fit"):
        robot.play_window(4)


def test_command(tmp_path, capsys):
    file = tmp_path / "out.json"
    given = ["--robots", "1", "2", "--policy", "ours", "device_only", "--seconds", "1"]
    assert main(["simulate", *given, "--json", str(file)]) == 0
    content = json.loads(file.read_text())
    assert content["simulated"]
    assert [point["robots"] for point in content["points"]] == [1, 2, 1, 2]
    assert all(math.isfinite(point["p95_s"]) for point in content["points"])
    assert "SIMULATED" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--robots", "0"], "--robots must be"),
        (["--utilisation", "0"], "--utilisation must be"),
        (["--policy", "our"], "unknown policy 'our'"),
        (["--robot", "jetson-nan"], "unknown device"),
        (["--policy", "cloud"], "needs a cloud"),
    ],
)
def test_mistakes(given, said, capsys):
    status = main(["simulate", *given, *(() if "--robots" in given else ("--robots", "1"))])
    text = capsys.readouterr()
    assert said in text.err + text.out
    assert status == (0 if "cloud" in given else 2)
