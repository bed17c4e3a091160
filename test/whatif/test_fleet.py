"""A fleet from a file: what is read, what is refused, and that the totals are right."""

import io
import itertools
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from codesign_ros.cost.catalogue import find_device, find_link, load_devices, load_links
from codesign_ros.planning.candidates import evaluate
from codesign_ros.resources import resource_path
from codesign_ros.types.devices import DeviceSpec
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import Merge, Structure
from codesign_ros.types.links import LinkSpec
from codesign_ros.whatif.fleet import MOST_ROBOTS, plan_fleet, read_fleet
from codesign_ros.whatif.fleet_report import fleet_json, fleet_report
from codesign_ros.whatif.problem import ANSWER_BYTES, WhatIf, what_if_problem

CONFIG = resource_path("config")
SLOW = DeviceSpec("slow", {"fp32": 5e8}, 1e9)
SLOWER = DeviceSpec("slower", {"fp32": 2e8}, 5e8, power_w=3.0)
FAST = DeviceSpec("fast", {"fp32": 5e9}, 1e10)
FASTER = DeviceSpec("faster", {"fp32": 5e10}, 1e11)
DEVICES = {device.name: device for device in (SLOW, SLOWER, FAST, FASTER)}
LINKS = {
    "air": LinkSpec(5e6, 0.001, "air", transmit_w=1.0),
    "wire": LinkSpec(2e7, 0.0, "wire"),
}
SERVERS = "servers: {near: {device: fast}, far: {device: faster}}\n"


@pytest.fixture(autouse=True)
def cache(engine_cache, monkeypatch):
    monkeypatch.setenv("CODESIGN_CACHE_DIR", str(engine_cache))


@pytest.fixture
def read(tmp_path):
    def write_and_read(text):
        path = tmp_path / "fleet.yaml"
        path.write_text(text)
        return read_fleet(path, DEVICES, LINKS)

    return write_and_read


def conditions(robot, servers, links):
    """Few choices, so that all combinations can be tried."""
    return WhatIf(
        mode="roofline",
        robot=robot,
        servers=servers,
        links=links,
        structures=(Structure.S3,),
        merges=(Merge.FOLD,),
        precisions=("fp32",),
        codecs=("raw",),
        frame_codecs=("raw", "jpeg"),
        lambda_1=0.1,
    )


def printed(planned):
    console = Console(width=110, record=True, file=io.StringIO())
    for part in fleet_report(planned):
        console.print(part)
    return console.export_text()


def choices_of(bundle, fleet, group):
    """Every (own time, work on the link, work on the server, server) of one robot of a group."""
    what_if = conditions(group.device, fleet.servers, (group.link,) * len(fleet.servers))
    evaluation = evaluate(what_if_problem(bundle, what_if))
    found = []
    for index in np.argwhere(np.isfinite(evaluation.objective)):
        row = evaluation.row(index)
        p, rate_bps = row.prediction, group.link.bandwidth_bps * group.link_rate
        back_s = 8 * ANSWER_BYTES / group.link.bandwidth_bps
        delay_s = 2 * group.link.delay_s + back_s if p.payload_bytes else 0.0
        weight = 0.1 if group.lambda_1 is None else group.lambda_1
        own_s = group.slowdown * p.head_s + delay_s + weight * p.accuracy_loss
        found.append((own_s, 8 * p.payload_bytes / rate_bps, p.tail_s, row.candidate.server))
    return found


def brute_force(bundle, fleet):
    """The least sum of L over all combinations of choices, each at the best shares."""
    groups = [group for group in fleet.groups for _ in range(group.count)]
    best_s = np.inf
    for combination in itertools.product(*(choices_of(bundle, fleet, g) for g in groups)):
        roots = {}
        for group, (_, link_s, tail_s, server) in zip(groups, combination, strict=True):
            for name, work_s in ((f"link {group.link.name}", link_s), (server, tail_s)):
                roots[name] = roots.get(name, 0.0) + work_s**0.5
        own_s = sum(choice[0] for choice in combination)
        best_s = min(best_s, own_s + sum(root**2 for root in roots.values()))
    return best_s


@pytest.mark.parametrize(
    "robots",
    [
        "{a: {device: slow, link: air, count: 2}}",
        "{a: {device: slower, link: air, count: 3}}",
        "{a: {device: slow, link: air}, b: {device: slower, link: wire, count: 2}}",
        "{a: {device: slower, link: wire, count: 2, lambda_1: 0},"
        " b: {device: slow, link: wire, slowdown: 3, link_rate: 0.3, lambda_1: 5}}",
    ],
)
def test_the_total_and_the_bound_against_all_combinations(tiny_bundle, read, robots):
    fleet = read(f"{SERVERS}robots: {robots}")
    planned = plan_fleet(tiny_bundle, fleet, conditions)
    plan, best_s = planned.plan, brute_force(tiny_bundle, fleet)
    assert plan.lower_bound_s <= best_s * (1 + 1e-9)
    assert best_s * (1 - 1e-9) <= plan.objective_s <= best_s * 1.01

    # The total is that of the robots, whose times are those of their shares.
    content = fleet_json(planned)
    total_s = 0.0
    for robot, group in zip(content["robots"], planned.groups, strict=True):
        rate_bps = group.link.bandwidth_bps * group.link_rate
        sends = robot["payload_bytes"] > 0
        link_s = sends * (2 * group.link.delay_s + 8 * ANSWER_BYTES / group.link.bandwidth_bps)
        if sends:
            link_s += 8 * robot["payload_bytes"] / (rate_bps * robot["link_share"])
        assert robot["wire_ms"] == pytest.approx(1e3 * link_s)
        latency_s = (robot["head_ms"] + robot["wire_ms"] + robot["tail_ms"]) / 1e3
        assert robot["latency_ms"] == pytest.approx(1e3 * latency_s)
        total_s += latency_s + robot["lambda_1"] * robot["accuracy_loss"]
    assert content["objective"] == pytest.approx(total_s)
    assert content["gap"] == pytest.approx(total_s / content["lower_bound"] - 1, abs=1e-9)
    for name in LINKS:
        on_it = [robot["link_share"] for robot in content["robots"] if robot["link"] == name]
        assert sum(on_it) == pytest.approx(1.0) or not any(on_it)
    for server in ("near", "far"):
        on_it = [r["server_share"] for r in content["robots"] if r["server"] == server]
        assert sum(on_it) == pytest.approx(1.0) or not on_it

    # Alone each has its best choice, and sharing after that is no better than planning together.
    best_alone_s = [
        min(sum(choice[:3]) for choice in choices_of(tiny_bundle, fleet, group))
        for group in planned.groups
    ]
    alone_s = [robot["alone"]["objective"] for robot in content["robots"]]
    assert alone_s == pytest.approx(best_alone_s)
    assert content["alone"] == pytest.approx(sum(best_alone_s))
    assert content["alone_then_sharing"] >= total_s * (1 - 1e-9)
    assert content["alone"] <= content["lower_bound"] * (1 + 1e-4)

    text = printed(planned)
    for value in (content["objective"], content["alone_then_sharing"], content["lower_bound"]):
        assert f"{value:.4f}" in text


def test_the_tables_count_every_robot_once(tiny_bundle, read):
    fleet = read(f"{SERVERS}robots: {{a: {{device: slow, link: air, count: 7}}}}")
    planned = plan_fleet(tiny_bundle, fleet, conditions)
    lines = [line.split() for line in printed(planned).splitlines()]
    counts = [int(words[0]) for words in lines if words[1:2] == ["a"]]
    # Once in the table of the choices, once in that of the times.
    assert sum(counts) == 2 * 7
    assert [robot.name for robot in planned.robots] == [f"a {i}" for i in range(1, 8)]
    assert printed(planned).count("(predicted") == 4


def test_what_planning_alone_would_overfill_is_said(tiny_bundle, read):
    """Each alone would send the frame; together one keeps it, for the link carries three."""
    fleet = read(f"{SERVERS}robots: {{a: {{device: slow, link: air, count: 4}}}}")
    (group,) = fleet.groups
    found = choices_of(tiny_bundle, fleet, group)
    local_s = min(own_s for own_s, _, _, server in found if not server)
    _, sent_s, *_ = min(found, key=lambda choice: sum(choice[:3]))
    rate_hz = 0.3 / sent_s
    # The robot itself keeps that rate, yet sending is faster.
    slowdown = 0.9 / rate_hz / local_s
    fleet = replace(fleet, groups=(replace(group, frame_rate_hz=rate_hz, slowdown=slowdown),))
    planned = plan_fleet(tiny_bundle, fleet, conditions)
    uses = planned.alone.uses
    assert uses["link air"] > 1
    assert not planned.alone.sharing
    assert planned.plan.uses["link air"] <= 1
    content = fleet_json(planned)
    assert content["alone_then_sharing"] is None
    assert content["robots"][0]["alone_then_sharing"] is None
    assert "not possible" in printed(planned)
    assert f"{uses['link air']:.1%}" in printed(planned)


def test_the_example_is_installed_and_says_what_may_stand_in_a_fleet():
    devices = load_devices(CONFIG / "devices.yaml")
    links = load_links(CONFIG / "links.yaml")
    fleet = read_fleet(CONFIG / "fleet.yaml", devices, links)
    assert sum(group.count for group in fleet.groups) == 9
    loader, scout, _ = fleet.groups
    assert (loader.name, loader.count, loader.frame_rate_hz) == ("loader", 4, 10.0)
    assert loader.device is find_device(devices, "jetson-nano")
    assert loader.link is scout.link is find_link(links, "wifi")
    assert (scout.slowdown, scout.link_rate, scout.lambda_1) == (4.0, 0.5, None)
    assert [server.name for server in fleet.servers] == ["shaft", "workshop"]
    assert fleet.servers[1].peak_flops == find_device(devices, "t4").peak_flops


ROBOT = "a: {device: slow, link: air}"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "names no servers"),
        ("[1, 2]", "names no servers"),
        ("servers: {near: [", "cannot read a fleet from"),
        (f"robots: {{{ROBOT}}}", "names no servers"),
        (f"servers: {{}}\nrobots: {{{ROBOT}}}", "names no servers"),
        (SERVERS, "names no robots"),
        (f"{SERVERS}robots: {{{ROBOT}}}\nlinks: {{}}", "unknown part 'links'; known are servers"),
        (f"{SERVERS}robots: {{{ROBOT}, {ROBOT}}}", "'a' is there 2 times"),
        (f"servers: {{x: {{device: fast, wings: 2}}}}\nrobots: {{{ROBOT}}}", "'wings'; known"),
        (f"servers: {{x: {{}}}}\nrobots: {{{ROBOT}}}", "server 'x' in .* lacks device"),
        (f"servers: {{x: {{device: abacus}}}}\nrobots: {{{ROBOT}}}", "unknown device 'abacus'"),
        (f"{SERVERS}robots: {{a: {{device: slow}}}}", "robot 'a' in .* lacks link"),
        (f"{SERVERS}robots: {{a: {{link: air}}}}", "robot 'a' in .* lacks device"),
        (f"{SERVERS}robots: {{a: {{device: slow, link: air, wings: 2}}}}", "'wings'; known are"),
        (f"{SERVERS}robots: {{a: {{device: abacus, link: air}}}}", "unknown device 'abacus'"),
        (f"{SERVERS}robots: {{a: {{device: [slow], link: air}}}}", "device must be text"),
        (f"{SERVERS}robots: {{a: {{device: slow, link: tin-can}}}}", "unknown link 'tin-can'"),
    ],
)
def test_a_mistake_in_the_file_is_one_line(read, text, says):
    with pytest.raises(CodesignError, match=says) as error:
        read(text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("field", "says"),
    [
        ("count: 0", "count must be a positive number, not 0"),
        ("count: -2", "count must be a positive number, not -2"),
        ("count: 1.5", "count must be a whole number, not 1.5"),
        ("count: many", "count must be a positive number, not 'many'"),
        (f"count: {MOST_ROBOTS + 1}", f"{MOST_ROBOTS + 1} robots; at most {MOST_ROBOTS}"),
        ("frame_rate_hz: 0", "frame_rate_hz must be a positive number"),
        ("frame_rate_hz: -1", "frame_rate_hz must be a positive number"),
        ("frame_rate_hz: .inf", "frame_rate_hz must be a positive number"),
        ("slowdown: 0", "slowdown must be a positive number"),
        ("link_rate: 0", "link_rate must be a positive number"),
        ("lambda_1: -1", "lambda_1 must be a number of 0 or more"),
    ],
)
def test_a_number_that_makes_no_sense_is_named(read, field, says):
    with pytest.raises(CodesignError, match=says):
        read(f"{SERVERS}robots: {{a: {{device: slow, link: air, {field}}}}}")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(CodesignError, match=r"cannot read a fleet from .*nowhere"):
        read_fleet(tmp_path / "nowhere", DEVICES, LINKS)


@pytest.mark.parametrize(
    ("robot", "says"),
    [
        ("slowdown: 1.0e+6, frame_rate_hz: 100", r"the link air is short: .* Mbit/s more"),
        ("slowdown: 1.0e+6, frame_rate_hz: 100, link_rate: 20", "robot a 1: link_rate is a part"),
    ],
)
def test_what_cannot_be_planned_is_one_line(tiny_bundle, read, robot, says):
    fleet = read(f"{SERVERS}robots: {{a: {{device: slow, link: air, count: 40, {robot}}}}}")
    with pytest.raises(CodesignError, match=says):
        plan_fleet(tiny_bundle, fleet, conditions)


def test_times_measured_for_one_robot_do_not_serve_a_fleet(tiny_bundle, read):
    fleet = read(f"{SERVERS}robots: {{{ROBOT}}}")
    with pytest.raises(CodesignError, match="--mode measured is for one robot"):
        plan_fleet(tiny_bundle, fleet, lambda *m: replace(conditions(*m), mode="measured"))
