"""``codesign plan``: what it tells a person and a script, and what it refuses."""

import json

import numpy as np
import pytest

from codesign_ros.cli.main import main
from codesign_ros.cost.half_times import profile_of
from codesign_ros.planning.policies import POLICIES
from codesign_ros.types import BRANCH_STRUCTURES
from codesign_ros.whatif.device_times import DeviceTimes, write_device_times

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
    assert best["throughput_fps"] == pytest.approx(1e3 / max(stages))
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
    heads = {(c, s, "fp32"): 0.001 * (c + 1) for c in range(n + 1) for s in BRANCH_STRUCTURES}
    tails = {(c, s, "fp32"): 0.001 * (n - c) for c in range(n + 1) for s in BRANCH_STRUCTURES}
    codecs = {(cut, "raw"): 0.0005 for cut in range(n)}
    sizes = {(cut, "raw"): 1000.0 for cut in range(n)}
    parts = [profile_of(halves, frozenset(), codecs, sizes) for halves in (heads, tails)]
    path = tmp_path / "slow.json"
    times = DeviceTimes("raspberry-pi-5", "onnxruntime", 1, tiny_bundle.model_id, *parts)
    write_device_times(path, times)
    return path


def test_a_profile_of_another_machine(plan, tiny_bundle, slow):
    status, content, _ = plan(
        "--mode", "measured", "--robot-profile", slow, "--server-profile", slow,
        "--policy", "device_only",
    )  # fmt: skip
    assert status == 0
    assert content["best"]["head_ms"] == pytest.approx(len(tiny_bundle.segments) + 1)


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
        (["--lambda-1", "-1"], "lambda_1"),
        (["--codec", "lz4"], "lz4"),
        (["--policy", "dice"], "dice"),
        (["--accuracy-floor", "0.99"], "above what the unchanged network reaches: 0.9000"),
        (["--accuracy-floor", "90"], "from 0 to 1"),
        (["--deadline-ms", "-4"], "deadline_s"),
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


def test_more_bandwidth_never_makes_it_worse(plan):
    rates = (0.1, 1, 10, 100)
    latencies = [
        plan("--link", f"{rate}mbps", "--lambda-1", 0)[1]["best"]["latency_ms"] for rate in rates
    ]
    assert np.all(np.diff(latencies) <= 1e-9)
