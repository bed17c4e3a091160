"""Plans of many robots that share a link and a server."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codesign_ros.planning.fleet.options import nondominated, options
from codesign_ros.planning.fleet.robots import FleetRobot
from codesign_ros.planning.fleet.shares import best_shares
from codesign_ros.planning.fleet.solve import each_alone
from codesign_ros.planning.fleet.solve import share as share_fleet
from codesign_ros.planning.grid import grid
from codesign_ros.planning.problem import Limits, Problem
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import Structure
from codesign_ros.types.links import LinkSpec
from support.planning import random_tables

LINK = LinkSpec(20e6, 0.013)
SMALL = {"structures": tuple(Structure)[:2], "precisions": ("int8-channel",)}


def choices_in(tables, **more):
    return options(Problem(tables, links=(LINK,) * len(tables.axes.servers), **more))


def share(robots, *links):
    """The plan of robots that have these links in turn."""
    return share_fleet(linked(robots, *links))


def linked(robots, *links):
    return [
        dataclasses.replace(robot, link=links[i % len(links)]) for i, robot in enumerate(robots)
    ]


def fleet_of(seed, count, classes=2, tail=1.0, servers=1, **more):
    """Robots of random classes, slowdowns, radios and weights."""
    rng = np.random.default_rng(seed)
    tables = [random_tables(10 * seed + i, servers=servers, **SMALL) for i in range(classes)]
    each = [choices_in(dataclasses.replace(t, tail_s=tail * t.tail_s)) for t in tables]
    return [
        FleetRobot(
            f"robot{i}",
            each[i % classes],
            LINK,
            slowdown=rng.uniform(0.5, 3.0),
            link_rate=rng.uniform(0.3, 1.0),
            lambda_1=rng.uniform(0.0, 0.3),
            **more,
        )
        for i in range(count)
    ]


def choices_of(robot):
    """All (a, p, t, server) of a robot, from all that its class has: no reduction."""
    evaluation, link = robot.options.evaluation, robot.link
    found = []
    for index in np.argwhere(evaluation.offered):
        prediction = evaluation.row(index).prediction
        sent = prediction.payload_bytes > 0
        found.append(
            (
                robot.slowdown * prediction.head_s
                + robot.lambda_1 * prediction.accuracy_loss
                + (2 * link.delay_s if sent else 0.0),
                8.0 * prediction.payload_bytes / (link.bandwidth_bps * robot.link_rate),
                prediction.tail_s,
                index[-1],
            )
        )
    found = np.unique(np.array(found), axis=0)
    # What is worse than keeping all on the robot at best shares is out even without sharing.
    alone = found[(found[:, 1] == 0) & (found[:, 2] == 0), 0].min()
    return found[found[:, :3].sum(axis=1) <= alone]


def brute_force(robots):
    """The least sum of objectives over all combinations, at the best shares."""
    own, roots = 0.0, {}
    for axis, robot in enumerate(robots):
        shape = [1] * len(robots)
        shape[axis] = -1
        local_s, sent_s, tail_s, server = (column.reshape(shape) for column in choices_of(robot).T)
        own = own + local_s
        roots[robot.link] = roots.get(robot.link, 0.0) + np.sqrt(sent_s)
        for each in range(2):
            roots[each] = roots.get(each, 0.0) + np.sqrt(np.where(server == each, tail_s, 0.0))
    return float((own + sum(root**2 for root in roots.values())).min())


@pytest.mark.parametrize("seed", range(8))
def test_few_robots_against_all_combinations(seed):
    robots = fleet_of(seed, 3)
    plan = share(robots, LINK)
    best = brute_force(robots)
    assert plan.lower_bound_s <= best * (1 + 1e-9)
    assert plan.objective_s >= best * (1 - 1e-9)
    assert plan.objective_s == pytest.approx(best, rel=1e-9)


@pytest.mark.parametrize("seed", range(12))
def test_several_links_and_servers_against_all_combinations(seed):
    robots = linked(fleet_of(seed, 3, tail=0.3, servers=2), LINK, LinkSpec(5e6, 0.002, "other"))
    plan = share_fleet(robots)
    best = brute_force(robots)
    assert plan.lower_bound_s <= best * (1 + 1e-9)
    assert plan.objective_s >= best * (1 - 1e-9)
    # The search changes one robot's choice at a time.
    assert plan.objective_s <= best * 1.02
    assert plan.gap >= plan.objective_s / best - 1 - 1e-9


@pytest.mark.parametrize("seed", range(4))
def test_twice_the_servers_is_never_worse(seed):
    one = share(fleet_of(seed, 30, tail=0.3), LINK)
    two = share(fleet_of(seed, 30, tail=0.3, servers=2), LINK)
    assert two.lower_bound_s <= two.objective_s * (1 + 1e-9)
    assert two.gap < 0.02
    assert one.gap < 0.02
    used = {row.candidate.server for row in two.rows} - {""}
    for name in used:
        on_it = [row.candidate.server == name for row in two.rows]
        assert two.server_shares[on_it].sum() == pytest.approx(1.0)


@pytest.mark.parametrize("seed", range(6))
def test_each_alone(seed):
    """The choice of each is the grid's best, and sharing costs what brute arithmetic says."""
    robots = linked(fleet_of(seed, 6, tail=0.3, servers=2), LINK, LinkSpec(5e6, 0.002, "other"))
    alone = each_alone(robots)
    work = {}
    own_s = 0.0
    for robot, row in zip(robots, alone.rows, strict=True):
        best_s = choices_of(robot)[:, :3].sum(axis=1).min()
        assert row.prediction.objective == pytest.approx(best_s)
        sent_s = 8 * row.prediction.payload_bytes / (robot.link.bandwidth_bps * robot.link_rate)
        own_s += best_s - sent_s - row.prediction.tail_s
        for name, each_s in ((robot.link, sent_s), (row.candidate.server, row.prediction.tail_s)):
            work.setdefault(name, []).append(each_s)
    expected_s = own_s + sum(np.sqrt(each).sum() ** 2 for each in work.values())
    sharing_s = sum(row.prediction.objective for row in alone.sharing)
    assert sharing_s == pytest.approx(expected_s)
    plan = share_fleet(robots)
    assert plan.objective_s <= sharing_s * (1 + 1e-9)
    assert sum(row.prediction.objective for row in alone.rows) <= plan.objective_s * (1 + 1e-9)


@pytest.mark.parametrize("seed", range(8))
def test_a_fleet_of_one_is_the_grid(seed):
    tables = random_tables(seed)
    robot = FleetRobot("robot", choices_in(tables), LINK, lambda_1=0.2)
    best = grid(Problem(tables, links=(LINK,), lambda_1=0.2)).best
    plan = share([robot], LINK)
    assert plan.rows[0].prediction.objective == pytest.approx(best.prediction.objective, rel=1e-12)
    assert plan.rows[0].prediction.energy_j == pytest.approx(best.prediction.energy_j)
    assert plan.objective_s == pytest.approx(best.prediction.objective, rel=1e-12)
    assert plan.link_shares[0] in (0.0, 1.0)


def test_hand_computed_shares():
    # Roots 1, 2 and 3 of six: 1/6, 2/6, 3/6, and the times add up to 36 = (1 + 2 + 3)^2.
    shares = best_shares(np.array([1.0, 4.0, 9.0]), np.zeros(3))
    assert shares == pytest.approx([1 / 6, 2 / 6, 3 / 6])
    assert (np.array([1.0, 4.0, 9.0]) / shares).sum() == pytest.approx(36.0)
    # The first must have a quarter; the others divide 3/4 as 2 to 3.
    shares = best_shares(np.array([1.0, 4.0, 9.0]), np.array([0.25, 0.0, 0.0]))
    assert shares == pytest.approx([0.25, 0.3, 0.45])
    # Who has nothing to do gets nothing.
    assert best_shares(np.array([0.0, 4.0]), np.zeros(2)) == pytest.approx([0.0, 1.0])
    assert best_shares(np.zeros(2), np.zeros(2)) == pytest.approx([0.0, 0.0])


@given(
    st.lists(st.tuples(st.floats(1e-3, 10.0), st.floats(0.0, 1.0)), min_size=2, max_size=6),
    st.integers(0, 1000),
)
@settings(max_examples=60, deadline=None)
def test_no_other_shares_are_better(pairs, seed):
    work = np.array([pair[0] for pair in pairs])
    least = np.array([pair[1] for pair in pairs])
    least = 0.9 * least / max(1.0, least.sum())
    shares = best_shares(work, least)
    assert shares.sum() == pytest.approx(1.0)
    assert (shares >= least - 1e-12).all()
    # The problem is convex: it is enough that no small move from one robot to another helps.
    best = (work / shares).sum()
    for giver, taker in itertools.permutations(range(len(work)), 2):
        amount = min(1e-4, shares[giver] - least[giver])
        moved = shares.copy()
        moved[giver] -= amount
        moved[taker] += amount
        if amount > 1e-9:
            assert (work / moved).sum() >= best * (1 - 1e-9)
    # And no random shares do better.
    for other in np.random.default_rng(seed).dirichlet(np.ones(len(work)), 20):
        assert (work / (least + (1 - least.sum()) * other)).sum() >= best * (1 - 1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_rows_times_and_shares_fit_together(seed):
    robots = fleet_of(seed, 40)
    plan = share(robots, LINK)
    assert len(plan.rows) == 40
    total = sum(row.prediction.objective for row in plan.rows)
    assert total == pytest.approx(plan.objective_s)
    assert plan.lower_bound_s <= plan.objective_s * (1 + 1e-9)
    assert plan.gap < 0.02
    for shares, stage in ((plan.link_shares, "payload_bytes"), (plan.server_shares, "tail_s")):
        busy = np.array([getattr(row.prediction, stage) > 0 for row in plan.rows])
        assert (shares[busy] > 0).all()
        assert (shares[~busy] == 0).all()
        assert shares.sum() == pytest.approx(1.0 if busy.any() else 0.0)
    for robot, row, link_share in zip(robots, plan.rows, plan.link_shares, strict=True):
        if row.prediction.payload_bytes:
            rate = LINK.bandwidth_bps * robot.link_rate * link_share
            expected_s = 8 * row.prediction.payload_bytes / rate + 2 * LINK.delay_s
            assert row.prediction.link_s == pytest.approx(expected_s)


def test_equal_robots_with_equal_choices_get_equal_shares():
    each = choices_in(random_tables(3))
    plan = share([FleetRobot(f"robot{i}", each, LINK) for i in range(6)], LinkSpec(1e9))
    by_candidate = {}
    for row, link_share, server_share in zip(
        plan.rows, plan.link_shares, plan.server_shares, strict=True
    ):
        by_candidate.setdefault(row.candidate, []).append((link_share, server_share))
    for shares in by_candidate.values():
        assert np.ptp(np.array(shares), axis=0) == pytest.approx([0.0, 0.0], abs=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_more_bandwidth_is_never_worse(seed):
    robots = fleet_of(seed, 3, tail=0.1)
    plans = [share(robots, LinkSpec(rate, 0.005)) for rate in (1e6, 3e6, 1e7, 3e7, 1e8)]
    best = [plan.objective_s for plan in plans]
    assert all(later <= earlier * (1 + 1e-9) for earlier, later in itertools.pairwise(best))
    assert best[0] > best[-1]


def test_order_of_the_robots_does_not_matter_beyond_the_gap():
    robots = fleet_of(1, 30, tail=0.1)
    plan, turned = share(robots, LINK), share(robots[::-1], LINK)
    assert turned.objective_s <= plan.objective_s * (1 + plan.gap + turned.gap + 1e-9)
    assert turned.lower_bound_s == pytest.approx(plan.lower_bound_s, rel=1e-3)


@given(st.integers(0, 10_000), st.integers(1, 60), st.integers(2, 4))
@settings(max_examples=40, deadline=None)
def test_nondominated_by_brute_force(seed, count, criteria):
    rng = np.random.default_rng(seed)
    points = rng.integers(0, 5, (count, criteria)).astype(float)
    kept = nondominated(list(points.T))
    expected = {
        tuple(point)
        for point in points
        if not any((other <= point).all() and (other < point).any() for other in points)
    }
    assert sorted(map(tuple, points[kept])) == sorted(expected)


def time_shared(work_s, rates_hz):
    """Sum of the times of robots with frame rates on one link or server; see ``solve``."""
    roots, uses = np.sqrt(work_s), work_s * rates_hz
    busy = float((uses * roots).sum())
    met = busy / (float(roots.sum()) * (1 - float(uses.sum())) + busy) if busy else 0.0
    times_s = work_s + met * roots * (roots.sum() - roots)
    if (times_s * rates_hz > 1).any():
        used = work_s > 0
        times_s = work_s[used] / best_shares(work_s[used], uses[used])
    return float(times_s.sum())


def limited_brute_force(robots):
    """Least sum over all choices whose frames fit, with floors under the shares."""
    best = np.inf
    per_robot = [choices_of(robot) for robot in robots]
    rates = np.array([robot.frame_rate_hz for robot in robots])
    for combination in itertools.product(*per_robot):
        own, link_s, tail_s, _ = np.array(combination).T
        if rates @ link_s > 1 or rates @ tail_s > 1:
            continue
        best = min(best, own.sum() + time_shared(link_s, rates) + time_shared(tail_s, rates))
    return best


@pytest.mark.parametrize(
    ("seed", "slower", "bandwidth_bps"),
    [(5, 1, 60e6), (5, 1, 0.3e6), (1, 30, 20e6), (1, 30, 1.91e6), (2, 10, 1.36e6), (3, 10, 8.4e6)],
)
def test_frame_rates_are_kept(seed, slower, bandwidth_bps):
    """The slow robots of the last cases must send, and nearly fill the link."""
    link = LinkSpec(bandwidth_bps, 0.005)
    robots = [
        dataclasses.replace(robot, slowdown=slower * robot.slowdown)
        for robot in fleet_of(seed, 60, tail=0.01, frame_rate_hz=1.0)
    ]
    plan = share(robots, link)
    link_use, server_use = plan.uses.values()
    assert link_use <= 1 + 1e-9
    assert server_use <= 1 + 1e-9
    assert plan.lower_bound_s <= plan.objective_s * (1 + 1e-9)
    # The bound does not know that robots meet.
    assert plan.gap < (2.0 if link_use > 0.9 else 0.15)
    for robot, row in zip(robots, plan.rows, strict=True):
        slowest_s = max(row.prediction.head_s, row.prediction.occupancy_s, row.prediction.tail_s)
        assert slowest_s <= 1 + 1e-9, robot.name


def tiny_robot(rate_hz, name="robot"):
    """A robot with a head too slow for its frame rate, so that it must send."""
    tables = random_tables(0, segments=2, codecs=("raw",), precisions=("fp32",))
    head_s = np.full_like(tables.head_s, 1.0)
    head_s[0] = 0.0
    payload = np.array([[1e4], [2e4], [0.0]])
    tail_s = np.full_like(tables.tail_s, 0.02)
    tail_s[:, -1] = 0.0
    return FleetRobot(
        name,
        choices_in(
            dataclasses.replace(
                tables,
                head_s=head_s,
                payload_bytes=payload,
                tail_s=tail_s,
                encode_s=np.zeros_like(tables.encode_s),
                decode_s=np.zeros_like(tables.decode_s),
            )
        ),
        LINK,
        frame_rate_hz=rate_hz,
    )


def test_who_is_seldom_at_work_is_seldom_in_the_way():
    # 10 ms on the link and 20 ms at the server, 3 robots at 10 Hz: 10 / (1 - 2 * 0.1) and
    # 20 / (1 - 2 * 0.2).
    link = LinkSpec(8e6)
    plan = share([tiny_robot(10.0)] * 3, link)
    for row, link_share, server_share in zip(
        plan.rows, plan.link_shares, plan.server_shares, strict=True
    ):
        assert row.prediction.occupancy_s == pytest.approx(0.0125)
        assert row.prediction.tail_s == pytest.approx(0.02 / 0.6)
        assert (link_share, server_share) == pytest.approx((0.8, 0.6))
    assert plan.lower_bound_s == pytest.approx(3 * 0.03)
    # As good as alone where frames are few, and divided by three where they fill all.
    few = share([tiny_robot(1.1)] * 3, LinkSpec(8e9))
    assert few.rows[0].prediction.occupancy_s == pytest.approx(1e-5, rel=1e-3)
    full = share([tiny_robot(100 / 6)] * 3, LinkSpec(8e9))
    assert full.rows[0].prediction.tail_s == pytest.approx(0.06)


@pytest.mark.parametrize("seed", range(6))
def test_frame_rates_lie_between_alone_and_always_in_the_way(seed):
    """The less often frames come, the less robots take from each other."""
    without = fleet_of(seed, 12, tail=0.3)
    alone_s = sum(row.prediction.objective for row in each_alone(without).rows)
    sums_s = [
        share_fleet([dataclasses.replace(r, frame_rate_hz=rate) for r in without]).objective_s
        for rate in (1e-6, 0.01, 0.1)
    ]
    assert sums_s[0] == pytest.approx(alone_s, rel=1e-4)
    assert all(a <= b * (1 + 1e-3) for a, b in itertools.pairwise(sums_s))
    assert sums_s[-1] <= share_fleet(without).objective_s * (1 + 1e-3)


def test_what_is_short_is_named():
    # Only cut 0 is fast enough: 80 kbit and 20 ms a frame, 10 frames a second, 3 robots:
    # 2.4 Mbit/s and 0.6 of the server.
    robots = [tiny_robot(10.0)] * 3
    plan = share(robots, LinkSpec(2.4e6, name="wire"))
    assert plan.uses["link wire"] == pytest.approx(1.0)
    assert plan.uses["server server0"] == pytest.approx(0.6)
    with pytest.raises(CodesignError, match=r"link wire is short.*2\.4 Mbit/s, 0\.4 Mbit/s more"):
        share(robots, LinkSpec(2.0e6, name="wire"))
    with pytest.raises(CodesignError, match=r"short \(server0\).*1\.2 of them, 0\.2 more"):
        share([tiny_robot(10.0)] * 6, LinkSpec(1e9))
    # To spare the one takes the other: 60 % of either is too much for two robots.
    either = tiny_robot(10.0).options
    either = dataclasses.replace(
        either,
        places=either.places[:2],
        head_s=np.zeros(2),
        payload_bytes=np.array([7.5e3, 1.0]),
        tail_s=np.array([[0.001, 0.06]]),
        accuracy_loss=np.zeros(2),
    )
    robots = [FleetRobot(f"robot{i}", either, LINK, frame_rate_hz=10.0) for i in range(2)]
    share(robots, LinkSpec(1e6, name="wire"))
    with pytest.raises(
        CodesignError, match=r"whatever each robot chooses.*fills link wire to .* server0 to"
    ):
        share(robots * 2, LinkSpec(1e6, name="wire"))
    robot = dataclasses.replace(tiny_robot(10.0), name="mole")
    far = dataclasses.replace(robot, options=only_on_the_robot(robot.options))
    with pytest.raises(CodesignError, match=r"mole cannot keep 10 frames a second.*1000 ms"):
        share([far], LINK)


def served_by_either(needs):
    """Robots that must be served by one of two servers; ``needs`` is what each fills of it."""
    either = choices_in(random_tables(1, servers=2))
    return [
        FleetRobot(
            f"robot{i}",
            dataclasses.replace(
                either,
                places=either.places[:2],
                head_s=np.zeros(2),
                payload_bytes=np.full(2, 1.0),
                tail_s=np.diag([need, need]),
                accuracy_loss=np.zeros(2),
            ),
            LinkSpec(1e9, name="wire"),
            frame_rate_hz=1.0,
        )
        for i, need in enumerate(needs)
    ]


def test_a_packing_that_no_single_move_finds():
    # 0.662 with 0.321, 0.445 with 0.438: the search by prices ended in 1.10 on one server.
    plan = share_fleet(served_by_either([0.3213, 0.4454, 0.4380, 0.6619]))
    assert sorted(plan.uses.values())[1:] == pytest.approx([0.4454 + 0.4380, 0.3213 + 0.6619])
    # 0.5 + 0.5 and 0.4 + 0.3 + 0.3 fill both servers exactly; any other division is too much.
    plan = share_fleet(served_by_either([0.4, 0.5, 0.3, 0.5, 0.3]))
    assert plan.uses["server server0"] == plan.uses["server server1"] == pytest.approx(1.0)
    # Three of 0.6 are less than two servers, but no two of them fit on one.
    with pytest.raises(CodesignError, match=r"^links and servers cannot carry.*whatever each"):
        share_fleet(served_by_either([0.6, 0.6, 0.6]))


@given(seed=st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_a_fleet_is_refused_only_where_no_choices_fit(seed):
    rng = np.random.default_rng(seed)
    robots = []
    for robot in served_by_either(np.ones(5)):
        count = int(rng.integers(1, 5))
        tail_s = np.zeros((2, count))
        tail_s[rng.integers(0, 2, count), np.arange(count)] = rng.uniform(0.05, 0.9, count)
        choices = dataclasses.replace(
            robot.options,
            places=np.repeat(robot.options.places[:1], count, axis=0),
            head_s=rng.uniform(0.1, 1.2, count),
            payload_bytes=rng.uniform(1e3, 7e4, count),
            tail_s=tail_s,
            accuracy_loss=np.zeros(count),
        )
        choices.head_s[0] = 0.5
        robots.append(dataclasses.replace(robot, options=choices, link=LinkSpec(1e6, name="wire")))
    fits = False
    for picks in itertools.product(*(range(len(robot.options.head_s)) for robot in robots)):
        pairs = list(zip(robots, picks, strict=True))
        sent = sum(8 * robot.options.payload_bytes[k] / 1e6 for robot, k in pairs)
        served = sum(robot.options.tail_s[:, k] for robot, k in pairs)
        on_time = all(robot.options.head_s[k] <= 1.0 for robot, k in pairs)
        fits |= bool(on_time and sent <= 1.0 and (served <= 1.0).all())
    if fits:
        plan = share_fleet(robots)
        assert max(plan.uses.values()) <= 1 + 1e-9
        assert plan.lower_bound_s <= plan.objective_s * (1 + 1e-9)
    else:
        with pytest.raises(CodesignError, match=r"are short|is short|cannot carry"):
            share_fleet(robots)


def only_on_the_robot(choices):
    alone = choices.payload_bytes == 0
    return dataclasses.replace(
        choices,
        places=choices.places[alone],
        tail_s=choices.tail_s[:, alone],
        **{
            name: getattr(choices, name)[alone]
            for name in ("head_s", "payload_bytes", "accuracy_loss")
        },
    )


@pytest.mark.parametrize("seed", range(3))
def test_few_robots_with_frame_rates_against_all_combinations(seed):
    robots = fleet_of(seed, 2, tail=0.3, frame_rate_hz=2.0)
    robots = [
        dataclasses.replace(r, slowdown=min(r.slowdown, 0.45 / r.options.head_s.max()))
        for r in robots
    ]
    robots = linked(robots, LinkSpec(1e6, 0.002))
    best = limited_brute_force(robots)
    plan = share_fleet(robots)
    assert plan.lower_bound_s <= best * (1 + 1e-9)
    assert best * (1 - 1e-9) <= plan.objective_s <= best * 1.05


def test_limits_on_what_is_not_shared_are_kept():
    tables = random_tables(2)
    free, floor = choices_in(tables), choices_in(tables, limits=Limits(accuracy_loss=0.05))
    assert free.accuracy_loss.max() > 0.05
    assert floor.accuracy_loss.max() <= 0.05
    robots = [FleetRobot(f"robot{i}", floor, LINK) for i in range(5)]
    assert all(row.prediction.accuracy_loss <= 0.05 for row in share(robots, LINK).rows)


def test_mistakes():
    tables = random_tables(0, servers=2)
    with pytest.raises(CodesignError, match="at least one server"):
        choices_in(random_tables(0, servers=0))
    with pytest.raises(CodesignError, match="at least one robot"):
        share_fleet([])
    with pytest.raises(CodesignError, match="cannot have the limit deadline_s"):
        choices_in(tables, limits=Limits(deadline_s=0.1))
    with pytest.raises(CodesignError, match="memory limit"):
        choices_in(tables, limits=Limits(robot_memory_bytes=0, server_memory_bytes=0))
    with pytest.raises(CodesignError, match="robot a: slowdown must be above 0"):
        FleetRobot("a", choices_in(tables), LINK, slowdown=0.0)
    with pytest.raises(CodesignError, match="robot a: lambda_1"):
        FleetRobot("a", choices_in(tables), LINK, lambda_1=-1.0)
    with pytest.raises(CodesignError, match=r"robot a: link_rate is a part .* at most 1, not 20"):
        FleetRobot("a", choices_in(tables), LINK, link_rate=20.0)


def test_each_choice_costs_time_on_its_own_server_alone():
    choices = choices_in(random_tables(4, servers=2))
    names = [choices.evaluation.candidate(place).server for place in choices.places]
    assert set(names) == {"", "server0", "server1"}
    for name, tails_s in zip(names, choices.tail_s.T, strict=True):
        busy = {f"server{i}" for i in np.flatnonzero(tails_s)}
        assert busy == {name} - {""}
