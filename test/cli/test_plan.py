"""``codesign plan``: what it tells a person and a script, and what it refuses."""

import json

import numpy as np
import pytest

from codesign_ros.cli.main import main
from codesign_ros.cost.half_times import HalfTimes
from codesign_ros.planning.policies import POLICIES
from codesign_ros.types.forms import BRANCH_STRUCTURES, HalfForm
from codesign_ros.whatif.device_times import write_device_times
from codesign_ros.whatif.problem import ANSWER_BYTES
from codesign_ros.wire.codecs import TENSOR_CODECS
from support.paths import ROOT

BEST = {
    "cut", "head_structure", "tail_structure", "merge", "precision", "codec", "head_ms", "wire_ms",
    "tail_ms", "latency_ms", "throughput_fps", "accuracy_loss", "objective",
}  # fmt: skip


@pytest.fixture(autouse=True)
def cache(engine_cache, monkeypatch):
    monkeypatch.setenv("CODESIGN_CACHE_DIR", str(engine_cache))


@pytest.fixture
def plan(capsys, tiny_bundle, tmp_path):
    def run(*arguments):
        out = tmp_path / "plan.json"
        out.unlink(missing_ok=True)
        options = ["--bundle", str(tiny_bundle.path), "--json", str(out), *map(str, arguments)]
        try:
            status = main(["plan", *options])
        except SystemExit as error:
            status = error.code
        content = json.loads(out.read_text()) if out.exists() else None
        return status, content, capsys.readouterr()

    return run


@pytest.mark.parametrize("mode", ["paper", "roofline", "measured"])
def test_what_a_script_gets(plan, tiny_bundle, mode):
    status, content, _ = plan("--mode", mode, "--robot", "nano", "--server", "nx")
    best, policies = content["best"], content["policies"]
    assert status == 0
    assert best.keys() >= BEST
    stages = best["head_ms"], best["wire_ms"], best["tail_ms"]
    assert best["latency_ms"] == pytest.approx(sum(stages))
    slowest_ms = max(best["head_ms"], best["occupancy_ms"], best["tail_ms"])
    assert best["throughput_fps"] == pytest.approx(1e3 / slowest_ms)
    assert best["objective"] == pytest.approx(
        best["latency_ms"] / 1e3 + content["lambda_1"] * best["accuracy_loss"]
    )
    assert content["candidates"] > 1000
    assert content["solve_ms"] > 0
    assert policies.keys() == POLICIES.keys()
    known = [policy for policy in policies.values() if "unavailable" not in policy]
    assert len(known) >= 12
    for policy in known:
        assert policy.keys() >= BEST
        if policy["in_decision_space"]:
            assert policy["objective"] >= best["objective"] - 1e-12
    assert policies["ours"]["objective"] == best["objective"]
    assert policies["device_only"]["cut"] == len(tiny_bundle.segments)
    assert policies["server_only_jpeg"]["cut"] == 0


def test_what_a_person_sees(plan, tmp_path):
    picture = tmp_path / "plan.png"
    status, _, said = plan("--explain", "--plot", picture, "--link", "20mbps", "--server", "nx")
    assert status == 0
    assert "bottleneck" in said.out
    assert "neurosurgeon" in said.out
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_gradient_searches_beside_the_grid(plan):
    _, content, said = plan("--solvers", "--server", "nx", "--structure", "S3", "--merge", "fold")
    solvers = content["solvers"]
    assert solvers.keys() == {"gradient", "algorithm_1", "algorithm_1_many_starts"}
    for name, result in solvers.items():
        assert f"{name}: {result['report']}" in " ".join(said.out.split())
        assert result["gap_ms"] >= -1e-6
        assert ("stuck" in result["report"]) == (result["gap_ms"] > 1e-6)
    assert solvers["gradient"]["objective"] >= content["best"]["objective"] - 1e-9


def test_the_plan_of_another_policy(plan, tiny_bundle):
    _, content, _ = plan("--policy", "device_only")
    assert content["best"]["cut"] == len(tiny_bundle.segments)
    assert content["best"]["objective"] >= content["policies"]["ours"]["objective"]


def test_objective_is_one_over_the_slowest_stage(plan):
    _, latency, _ = plan("--server", "nx")
    _, throughput, _ = plan("--server", "nx", "--objective", "throughput")
    assert throughput["best"]["throughput_fps"] >= latency["best"]["throughput_fps"] - 1e-9


def test_several_servers_to_choose_from(plan):
    _, both, _ = plan("--server", "nx", "l4", "--link", "1mbps", "100mbps")
    _, slow, _ = plan("--server", "nx", "--link", "1mbps")
    _, fast, _ = plan("--server", "l4", "--link", "100mbps")
    objectives = [content["best"]["objective"] for content in (slow, fast)]
    assert both["best"]["objective"] == pytest.approx(min(objectives))
    assert both["candidates"] > slow["candidates"]


def test_choices_can_be_narrowed(plan):
    _, content, _ = plan(
        "--structure", "S3", "--merge", "fold", "--precision", "fp32", "--codec", "raw", "jpeg",
    )  # fmt: skip
    segments = content["runners_up"]
    assert {row["head_structure"] for row in segments} == {"S3"}
    # Raw at every inner cut, raw and JPEG at cut 0, and cut N.
    assert content["candidates"] == len(content["runners_up"]) + 1 + 1


def test_limits_are_kept(plan):
    _, free, _ = plan("--lambda-1", 0)
    least = min(row["latency_ms"] for row in [free["best"], *free["runners_up"]])
    _, bound, _ = plan("--lambda-1", 0, "--accuracy-floor", 0.9, "--robot-memory-mb", 0.5)
    assert bound["best"]["accuracy_loss"] <= 1e-12
    for policy in bound["policies"].values():
        if policy.get("in_decision_space"):
            assert not policy["broken_limits"]
            assert policy["objective"] >= bound["best"]["objective"] - 1e-12
    assert bound["best"]["latency_ms"] >= least
    status, content, said = plan("--deadline-ms", least / 2)
    assert (status, content) == (2, None)
    assert f"is missed by {least / 2:.4g} ms" in said.err


@pytest.fixture
def slow(tiny_bundle, tmp_path):
    """A profile of a machine that needs 1 ms a segment and 1 ms for the frame."""
    n = len(tiny_bundle.segments)
    forms = [HalfForm(cut, s) for cut in range(n + 1) for s in BRANCH_STRUCTURES]
    half_s = {
        "head": {form: 0.001 * (form.cut + 1) for form in forms},
        "tail": {form: 0.001 * (n - form.cut) for form in forms},
    }
    codecs = {(cut, "raw"): 0.0005 for cut in range(n)}
    sizes = {(cut, "raw"): 1000.0 for cut in range(n)}
    times = {part: HalfTimes(of, frozenset(), codecs, sizes) for part, of in half_s.items()}
    path = tmp_path / "slow.json"
    conditions = {"device": "raspberry-pi-5", "model_id": tiny_bundle.model_id}
    write_device_times(path, times, conditions)
    return path


def test_a_profile_of_another_machine(plan, tiny_bundle, slow):
    status, content, _ = plan(
        "--mode", "measured", "--robot-profile", slow, "--server-profile", slow,
        "--policy", "device_only",
    )  # fmt: skip
    assert status == 0
    assert content["best"]["head_ms"] == pytest.approx(len(tiny_bundle.segments) + 1)


def test_codecs_are_scaled_from_a_device_that_was_profiled_and_marked(plan, slow):
    nano = "--robot", "nano", "--server", "nx", "--policy", "server_only_raw", "--link", "1gbps"
    _, bare, said = plan(*nano)
    assert bare["coding"] == "left out of T1 and T2"
    assert "codecs, JPEG and preparation: left out of T1 and T2" in said.out
    assert any("T1 and T2 are lower bounds" in note for note in bare["notes"])
    # The Pi's memory is 17.1 GB/s, the Nano's 25.6: two thirds of 1.5 ms, frame and codec.
    _, scaled, said = plan(*nano, "--robot-profile", slow)
    assert scaled["coding"] == "T1 of jetson-nano from raspberry-pi-5 x 0.67; left out of T2"
    more_ms = scaled["best"]["head_ms"] - bare["best"]["head_ms"]
    assert more_ms == pytest.approx(1.5 * 17.1 / 25.6)
    _, both, _ = plan(*nano, "--robot-profile", slow, "--server-profile", slow)
    assert "left out" not in both["coding"]
    more_ms = both["best"]["tail_ms"] - bare["best"]["tail_ms"]
    assert more_ms == pytest.approx(0.5 * 17.1 / 51.2)


def test_utilisation_is_fitted_and_its_error_given(plan, slow):
    _, fitted, _ = plan("--fit", slow, "--robot", "raspberry-pi-5", "--policy", "device_only")
    _, peaks, _ = plan("--robot", "raspberry-pi-5", "--policy", "device_only")
    notes = [note for note in fitted["notes"] if note.startswith("utilisation")]
    assert len(notes) == 1
    assert "error predicted with each half left out" in notes[0]
    mu = float(notes[0].split()[1])
    assert fitted["best"]["head_ms"] == pytest.approx(peaks["best"]["head_ms"] / mu, rel=0.01)


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["--robot", "abacus"], "abacus"),
        (["--server", "abacus"], "abacus"),
        (["--server", "nx", "nx"], "named twice"),
        (["--link", "0mbps"], "above 0"),
        (["--link=-5mbps"], "-5mbps"),
        (["--link", "tin-can"], "tin-can"),
        (["--link", "1mbps", "2mbps"], "2 links for 1 servers"),
        (["--objective", "beauty"], "beauty"),
        (["--lambda-1", "-1"], "--lambda-1 must be at least 0 and finite, not -1"),
        (["--codec", "lz4"], "lz4"),
        (["--policy", "dice"], "dice"),
        (["--accuracy-floor", "0.99"], "above what the unchanged network reaches: 0.9000"),
        (["--accuracy-floor", "90"], "from 0 to 1"),
        (["--deadline-ms", "-4"], "--deadline-ms must be more than 0 and finite, not -4"),
        (["--robot", "nano", "--precision", "int8-tensor"], "no peak for int8-tensor"),
        (["--mode", "paper", "--precision", "int8-tensor"], "fp32 alone"),
        (["--merge", "prune+bn"], "was not measured"),
        (["--plot", "plan.exe"], "plan.exe"),
        (["--mode", "measured", "--robot-profile", "/nowhere"], "/nowhere"),
        (["--devices", "/nowhere"], "/nowhere"),
        (["--fit", "/nowhere"], "/nowhere"),
        (["--mode", "paper", "--fit", "x"], "--fit is for mode roofline"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_thing(plan, arguments, names):
    status, content, said = plan(*arguments)
    lines = [line for line in said.err.splitlines() if line.startswith("error: ")]
    assert (status, content) == (2, None)
    assert len(lines) == 1
    assert names in lines[0]
    assert "Traceback" not in said.err


FLEET = """
servers: {{shaft: {{device: nx}}}}
robots:
  loader: {{device: nano, link: 10mbps, count: 2}}
  scout: {{device: {scout}, link: 10mbps, {more}}}
"""


@pytest.fixture
def fleet(tmp_path):
    def write(scout="tx1", more="slowdown: 50"):
        path = tmp_path / "fleet.yaml"
        path.write_text(FLEET.format(scout=scout, more=more))
        return path

    return write


def test_a_fleet(plan, fleet):
    status, content, said = plan("--fleet", fleet(), "--structure", "S3")
    assert status == 0
    assert [robot["robot"] for robot in content["robots"]] == ["loader 1", "loader 2", "scout"]
    assert all(robot.keys() >= BEST for robot in content["robots"])
    total = sum(robot["objective"] for robot in content["robots"])
    assert content["objective"] == pytest.approx(total)
    assert content["lower_bound"] <= total * (1 + 1e-9)
    assert total <= content["alone_then_sharing"] * (1 + 1e-9)
    assert f"{total:.4f}" in said.out
    assert f"{content['alone_then_sharing']:.4f}" in said.out
    assert f"{content['lower_bound']:.4f}" in said.out
    for words in ("2 loader", "1 scout", "predicted, not run", "above the bound"):
        assert words in said.out
    # One robot that shares with nobody is what `plan` finds for it.
    _, single, _ = plan("--robot", "nano", "--server", "nx", "--structure", "S3")
    assert content["robots"][0]["alone"]["objective"] == pytest.approx(single["best"]["objective"])


def test_choices_and_limits_hold_for_all_robots_of_a_fleet(plan, fleet, slow):
    _, content, _ = plan(
        "--fleet", fleet(), "--precision", "fp32", "--codec", "raw", "--lambda-1", 0.5,
        "--accuracy-floor", 0.9, "--merge", "fold", "prune",
    )  # fmt: skip
    robots = content["robots"]
    assert {robot["precision"] for robot in robots} == {"fp32"}
    assert {robot["codec"] for robot in robots} == {"raw"}
    assert {robot["lambda_1"] for robot in robots} == {0.5}
    assert max(robot["accuracy_loss"] for robot in robots) <= 1e-12
    _, fitted, said = plan("--fleet", fleet(), "--fit", slow)
    assert any(note.startswith("utilisation") for note in fitted["notes"])
    assert "utilisation" in said.out
    status, _, _ = plan("--fleet", fleet(), "--mode", "paper")
    assert status == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("--robot", "jetson-nano"), ("--server", "nx"), ("--link", "10mbps"),
        ("--link-delay-ms", 0), ("--cloud", "rtx-4090"), ("--cloud-link", "100mbps"),
        ("--robot-profile", "x"), ("--server-profile", "x"), ("--policy", "ours"),
        ("--objective", "latency"), ("--deadline-ms", 1), ("--uplink-bytes-per-s", 1),
        ("--frame-rate-hz", 1), ("--robot-energy-mj", 1), ("--solvers",), ("--top", 10),
        ("--explain",), ("--plot", "x.png"), ("--mode", "measured"),
    ],
)  # fmt: skip
def test_what_is_for_one_robot_is_refused_by_name(plan, fleet, arguments):
    status, content, said = plan("--fleet", fleet(), *arguments)
    (line,) = [line for line in said.err.splitlines() if line.startswith("error: ")]
    assert (status, content) == (2, None)
    assert f"{arguments[0]} " in line
    assert "for one robot" in line


@pytest.mark.parametrize(
    ("scout", "more", "names"),
    [
        ("abacus", "count: 1", "abacus"),
        ("tx1", "count: 0", "robot 'scout'"),
        ("tx1", "frame_rate_hz: 1.0e+6, slowdown: 1000", "link 10mbps is short"),
        ("tx1", "link_rate: 3", "robot scout: link_rate"),
    ],
)
def test_a_mistake_in_a_fleet_is_one_line(plan, fleet, scout, more, names):
    status, content, said = plan("--fleet", fleet(scout, more))
    lines = [line for line in said.err.splitlines() if line.startswith("error: ")]
    assert (status, content) == (2, None)
    assert len(lines) == 1
    assert names in lines[0]
    assert "Traceback" not in said.err


def test_more_bandwidth_never_makes_it_worse(plan):
    rates = (0.1, 1, 10, 100)
    latencies = [
        plan("--link", f"{rate}mbps", "--lambda-1", 0)[1]["best"]["latency_ms"] for rate in rates
    ]
    assert np.all(np.diff(latencies) <= 1e-9)


@pytest.fixture(scope="module")
def detector():
    return ["--bundle", str(ROOT / "bundles" / "mine_yolo.bundle")]


@pytest.mark.parametrize("delay_ms", [0, 6.5, 20])
def test_delay_does_not_slow_a_pipeline_down(plan, detector, delay_ms):
    # Of these codecs JPEG wins: the link is the slowest stage, and its delay does not occupy it.
    _, content, said = plan(
        *detector,
        *("--robot", "nano", "--server", "nx", "--link", "100mbps"),
        *("--link-delay-ms", delay_ms, "--objective", "throughput"),
        *("--codec", "jpeg", *TENSOR_CODECS),
    )
    best = content["best"]
    assert (best["cut"], best["codec"]) == (0, "jpeg")
    sending_ms, answer_ms = (8e-5 * size for size in (best["payload_bytes"], ANSWER_BYTES))
    assert best["throughput_fps"] == pytest.approx(1e3 / sending_ms)
    assert best["throughput_fps"] == pytest.approx(289.2, abs=0.1)
    assert best["wire_ms"] == pytest.approx(sending_ms + 2 * delay_ms + answer_ms)
    assert 0 < best["loss_error"] < 0.01
    assert "ours by part: cut alone 37.6 ms a frame" in said.out
    assert "structure 1.00 x, codec 4.51 x, precision 2.41 x" in " ".join(said.out.split())
    # The same precisions for all.
    assert content["policies"]["roofsplit"]["precision"] == "fp16"


def test_a_deadline_counts_the_way_back(plan, detector):
    papers = *detector, "--robot", "tx2", "--server", "rtx-4090", "--link", "paper"
    _, content, _ = plan(*papers, "--deadline-ms", 12, "--objective", "throughput")
    assert content["best"]["latency_ms"] <= 12
    # Sending the frame is within 12 ms one way, and its answer comes after more than 16.
    sending = content["policies"]["server_only_jpeg"]
    assert sending["latency_ms"] == pytest.approx(16.4, abs=0.1)
    (broken,) = sending["broken_limits"]
    assert broken.startswith("the deadline of 12 ms is missed by 4.")
    assert not sending["in_decision_space"]


def test_energy_needs_the_power_of_the_radio(plan):
    status, _, said = plan("--robot-energy-mj", 0, "--server", "nx")
    assert status == 2
    assert "the power of the radio of link 10mbps is not known; give transmit_w" in said.err
    status, _, said = plan("--robot-energy-mj", 0, "--transmit-w", 2, "--server", "nx")
    assert "the robot's energy limit of 0 mJ is missed by" in said.err


def test_a_frame_rate_alone_is_a_limit(plan):
    _, free, _ = plan("--server", "nx", "--link", "1mbps")
    fps = free["best"]["throughput_fps"]
    _, content, _ = plan("--server", "nx", "--link", "1mbps", "--frame-rate-hz", fps)
    assert content["best"]["throughput_fps"] >= fps * (1 - 1e-9)
    status, _, said = plan("--server", "nx", "--link", "1mbps", "--frame-rate-hz", 1e9)
    assert status == 2
    assert "the frame rate of 1e+09 frames/s is missed by" in said.err


def test_late_share_plans_by_the_bad_state(plan):
    radio = "--server", "nx", "--link", "fading-radio"
    _, mean, _ = plan(*radio)
    _, careful, _ = plan(*radio, "--late-share", 0.05)
    assert careful["best"]["latency_ms"] >= mean["best"]["latency_ms"]
    status, _, said = plan("--late-share", 0.05)
    assert status == 2
    assert "--late-share needs a --link whose rate varies" in said.err
