"""The command line: results as JSON, mistakes as one line."""

import importlib.util
import json
import math
import shutil
import subprocess
import sys

import numpy as np
import pytest

from codesign_ros.bundle import Bundle
from codesign_ros.cli.main import main
from codesign_ros.console import write_json
from codesign_ros.data.bag_writer import write_mine_bag
from codesign_ros.resources import default_bundle


def run(capsys, *arguments):
    """Exit status and standard error of a command, whether it returns or exits."""
    try:
        status = main([str(argument) for argument in arguments])
    except SystemExit as error:
        status = error.code
    return status, capsys.readouterr().err


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    path = tmp_path_factory.mktemp("bags") / "short"
    write_mine_bag(path, seed=5, frames=6)
    return path


@pytest.fixture(autouse=True)
def cache(engine_cache, monkeypatch):
    monkeypatch.setenv("CODESIGN_CACHE_DIR", str(engine_cache))


def test_json_is_json(tmp_path):
    """Infinity and NaN are none: other readers than Python's refuse the whole file."""
    out = tmp_path / "a.json"
    write_json(out, {"a": [math.inf, -math.inf, np.float64("nan"), 1.5], "b": {"c": (math.nan, 2)}})
    found = json.loads(out.read_text(), parse_constant=pytest.fail)
    assert found == {"a": [None, None, None, 1.5], "b": {"c": [None, 2]}}


def test_evaluate_writes_what_a_script_needs(capsys, tiny_bundle, bag, tmp_path):
    out = tmp_path / "result.json"
    status, _ = run(capsys, "evaluate", bag, "--bundle", tiny_bundle.path, "--json", out)
    content = json.loads(out.read_text())
    assert status == 0
    assert content["frames"] == len(content["predictions"]) == 6
    assert 0 <= content["accuracy"] <= 1


def test_evaluate_gives_the_same_answers_wherever_it_is_cut(capsys, tiny_bundle, bag, tmp_path):
    labels = []
    for cut in (0, 3, len(tiny_bundle.segments)):
        out = tmp_path / f"{cut}.json"
        run(
            capsys, "evaluate", bag, "--bundle", tiny_bundle.path, "--cut", cut, "--codec", "raw",
            "--json", out,
        )  # fmt: skip
        labels.append([p["label"] for p in json.loads(out.read_text())["predictions"]])
    assert labels[0] == labels[1] == labels[2]


def test_profile_times_other_precisions_at_every_cut(capsys, tiny_bundle, tmp_path):
    out = tmp_path / "profile.json"
    status, _ = run(
        capsys, "profile", "--bundle", tiny_bundle.path, "--budget-s", 0,
        "--precision", "int8-channel", "--json", out,
    )  # fmt: skip
    assert status == 0
    cuts = json.loads(out.read_text())["cuts"]
    for part in ("head_ms", "tail_ms"):
        assert all(row[part].keys() == {"fp32", "int8-channel"} for row in cuts)
        assert all(time_ms >= 0 for row in cuts for time_ms in row[part].values())


def test_profile_lists_every_cut(capsys, tiny_bundle, tmp_path):
    out = tmp_path / "profile.json"
    status, _ = run(capsys, "profile", "--bundle", tiny_bundle.path, "--budget-s", 0, "--json", out)
    content = json.loads(out.read_text())
    assert status == 0
    assert [row["cut"] for row in content["cuts"]] == list(range(len(tiny_bundle.segments) + 1))
    assert content["cuts"][-1]["load_fraction"] == 1.0


def test_profile_times_what_is_chosen_and_writes_it(capsys, tiny_bundle, tmp_path):
    from codesign_ros.whatif.device_times import read_device_times

    out, times_file = tmp_path / "profile.json", tmp_path / "profiles" / "my-robot.json"
    last = len(tiny_bundle.segments)
    status, _ = run(
        capsys, "profile", "--bundle", tiny_bundle.path, "--complete", "--fresh",
        "--cuts", 0, 5, last, "--structure", "S3+S1", "--precision", "int8-channel",
        "--device", "my-robot", "--out", times_file, "--json", out,
    )  # fmt: skip
    assert status == 0
    forms = json.loads(out.read_text())["forms"]
    chosen = [f for f in forms if f["cut"] == 5 and f["structure"] in ("S3", "S3+S1")]
    # Two parts, two structures, fp32 and int8.
    assert len(chosen) == 8
    assert all(form["measured"] and form["ms"] > 0 for form in chosen)
    device, times = read_device_times(times_file, tiny_bundle)
    assert device == "my-robot"
    assert "int8-channel" in {form.precision for form in times["tail"].measured_s}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--threads", 0], "--threads must be at least 1, not 0"),
        (["--cuts", 99], "cut 99 does not exist"),
        (["--backend", "tpu"], "there is no choice 'tpu'; known are onnxruntime, torch, tensorrt"),
        (["--backend", "torch", "--precision", "int8-tensor"], "not available on backend torch"),
    ],
)
def test_profile_names_what_cannot_be_timed(capsys, tiny_bundle, arguments, text):
    status, error = run(capsys, "profile", "--bundle", tiny_bundle.path, *arguments)
    assert status == 2
    assert text in error


HIDDEN = """
import contextlib, io, json, sys
hidden, *commands = json.loads(sys.argv[1])
sys.modules.update(dict.fromkeys(hidden))
from codesign_ros.cli.main import main
told = []
for command in commands:
    error = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(error):
        status = main(command)
    told.append((status, error.getvalue()))
print(json.dumps(told))
"""


def without(modules, *commands):
    """(status, standard error) of commands on a machine that lacks some modules."""
    given = json.dumps([modules, *commands])
    done = subprocess.run(
        [sys.executable, "-c", HIDDEN, given], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_without_pytorch_a_command_says_that_it_needs_it(tiny_bundle, bag, tmp_path):
    bundle, data = str(tiny_bundle.path), ["--data", "scenes:1", "--frames", "2"]
    commands = [
        ["accuracy", bundle, *data], ["blocks", "--bundle", bundle, *data], ["intensity"],
        ["compare", str(bag), "--bundle", bundle], ["rate-accuracy", str(default_bundle()), *data],
        ["explain", "mine:1:0", "--bundle", bundle],
        ["export", bundle, "--likely", "--backend", "onnxruntime"],
        ["import", "torchvision:resnet18", "--out", str(tmp_path / "x.bundle")],
        ["plan", "--bundle", bundle], ["profile", "--bundle", bundle], ["reproduce", "table2"],
        ["simulate", "--bundle", bundle], ["split-train", "--bundle", bundle, "--cut", "2"],
        ["train", str(tmp_path / "y.bundle")],
    ]  # fmt: skip
    for command, (status, error) in zip(commands, without(["torch"], *commands), strict=True):
        (line,) = (each for each in error.splitlines() if each.startswith("error: "))
        assert status == 2
        assert f"codesign {command[0]}" in line
        assert "needs torch, which does not load here (" in line
    ((status, error),) = without(
        ["torch"], ["evaluate", str(bag), "--bundle", bundle, "--cut", "99"]
    )
    assert (status, "99" in error) == (2, True)


def test_what_is_wrong_is_said_before_torch_is_loaded(tiny_bundle, tmp_path):
    """It takes seconds to load; here there is none at all."""
    bundle, out = str(tiny_bundle.path), str(tmp_path / "x.bundle")
    (tmp_path / "twice.txt").write_text("a\nb\na\n")
    (tmp_path / "none.txt").write_text("\n")
    one = ["--frames", "1"]
    asked = ["explain", "mine:1:0", "--bundle", bundle, "--out", out]
    cases = [
        (["import", "nocolon"], "network 'nocolon' is not written as"),
        (["import", ":x"], "network ':x' is not written as"),
        (["import", "/nowhere.py:Net"], "there is no file /nowhere.py"),
        (["import", "nowhere.at.all:Net"], "there is no package 'nowhere'"),
        (["import", ".nowhere:Net"], "there is no package ''"),
        (["import", "json:Net", "--pretrained"], "only torchvision and timm"),
        (["import", "timm:x", "--classes", "0"], "--classes 0: a network has at least one"),
        (["import", "timm:x", "--classes", "FOLDER/none.txt"], "a network has at least one"),
        (["import", "timm:x", "--classes", "FOLDER/twice.txt"], "'a' stands in it more than once"),
        (["explain", "/nowhere", "--bundle", bundle, "--out", out], "image /nowhere cannot be"),
        ([*asked, "--class", "fish"], "there is no class 'fish'"),
        ([*asked, "--segment", "fish"], "there is no segment 'fish'"),
        (["accuracy", bundle, "--data", "/nowhere"], "source /nowhere does not exist"),
        (["accuracy", bundle, "--data", "mine:1", *one, "--cuts", "99"], "cut 99 does not exist"),
        (["accuracy", bundle, "--data", "scenes:x", *one], "need a seed"),
        (["blocks", "--bundle", bundle, "--data", "/nowhere"], "source /nowhere does not exist"),
        (["blocks", "--bundle", bundle, "--data", "mine", *one, "--cut", "99"], "cut 99 does not"),
        (["compare", "mine:1", *one, "--bundle", bundle, "--policy", "cut:99"], "cut 99 does not"),
        (["compare", "mine:1", *one, "--bundle", bundle, "--policy", "x"], "unknown policy 'x'"),
        (["simulate", "--bundle", bundle, "--policy", "x"], "unknown policy 'x'"),
        (["profile", "--bundle", bundle, "--cuts", "99"], "cut 99 does not exist"),
        (["split-train", "--bundle", bundle], "--cut is missing"),
        (["split-train", "--bundle", bundle, "--cut", "99"], "cut 99 does not exist"),
    ]  # fmt: skip
    commands = [
        [each.replace("FOLDER", str(tmp_path)) for each in command]
        + (["--out", out] if command[0] == "import" else [])
        for command, _ in cases
    ]
    for (command, text), (status, error) in zip(cases, without(["torch"], *commands), strict=True):
        (line,) = (each for each in error.splitlines() if each.startswith("error: "))
        assert (status, text in line) == (2, True), (command, line)


def test_without_ros_a_command_says_that_it_needs_it(bag):
    hidden = ["rclpy", "codesign_ros.msg"]
    commands = [["replay-tail", str(bag)], ["top", "--once"], ["trace"], ["demo"]]
    for status, error in without(hidden, *commands):
        (line,) = error.splitlines()
        assert status == 2
        assert "needs ROS 2 and this package's messages (" in line


def test_mine_writes_a_bag_and_spares_what_is_there(capsys, tmp_path):
    out = tmp_path / "bag"
    assert run(capsys, "mine", out, "--frames", 2, "--storage", "sqlite3")[0] == 0
    status, error = run(capsys, "mine", out, "--frames", 2)
    assert status == 2
    assert "exists already" in error


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["evaluate", "/nowhere"], "/nowhere"),
        (["evaluate", "mine"], "--frames"),
        (["evaluate", "mine:1", "--frames", "1", "--cut", "99"], "99"),
        (["evaluate", "mine:1", "--frames", "1", "--codec", "lz4"], "lz4"),
        (["evaluate", "mine:1", "--frames", "1", "--backend", "abacus"], "abacus"),
        (["evaluate", "mine:1", "--frames", "1", "--precision", "fp7"], "fp7"),
        (
            [
                "evaluate",
                "mine:1",
                "--frames",
                "1",
                "--backend",
                "torch",
                "--precision",
                "int8-tensor",
            ],
            "precision 'int8-tensor' is not available on backend torch",
        ),
        (["evaluate", "mine:1", "--frames", "1", "--bundle", "/nowhere"], "/nowhere"),
        (["evaluate", "mine:1", "--frames", "1", "--json", "/nowhere/x.json"], "/nowhere/x.json"),
        (["demo", "--bag", "/nowhere"], "/nowhere"),
        (["demo", "--script", "/nowhere"], "/nowhere"),
        (["demo", "--bundle", "/nowhere"], "/nowhere"),
        (["evaluate", "mine:1", "--frames", "1", "--bundle", "~no_such_user/b"], "~no_such_user/b"),
        (["evaluate", "mine:1", "--frames", "1", "--bundle", "x" * 300], "File name too long"),
        (["evaluate", "no\nsuch\x1bbag"], "source no\\nsuch\\x1bbag does not exist"),
        (["evaluate", "mine:1", "--frames", "1", "--topic="], "--topic: needs a value"),
        (["evaluate", "mine:1", "--frames", "1", "--map", ","], "--map names no class"),
        (["compare", "mine:1", "--frames", "1", "--backend", "tensorflow"], "mean tensorrt?"),
        (["compare", "mine:1", "--frames", "1", "--robot-profile", "DEEP"], "deep.json"),
        (["export", ""], "bundle: needs a value"),
        (["mine"], "out"),
        (["fly"], "fly"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_thing(
    capsys, tiny_bundle, tmp_path, arguments, names
):
    (tmp_path / "deep.json").write_text("[" * 100_000)
    arguments = [tmp_path / "deep.json" if each == "DEEP" else each for each in arguments]
    if arguments[:1] == ["demo"] and importlib.util.find_spec("rclpy") is None:
        pytest.skip("the demo needs ROS 2")
    if arguments and arguments[0] == "evaluate" and "--bundle" not in arguments:
        arguments = [*arguments, "--bundle", tiny_bundle.path]
    status, error = run(capsys, *arguments)
    lines = [line for line in error.splitlines() if line.startswith("error: ")]
    assert status == 2
    assert len(lines) == 1
    assert names in lines[0]
    assert "Traceback" not in error


def test_a_bundle_is_not_written_over(tiny_bundle, tmp_path, capsys):
    there = tmp_path / "there.bundle"
    shutil.copytree(tiny_bundle.path, there)
    for command in (["train", str(there)], ["import", "net.py:Net", "--out", str(there)]):
        assert main(command) == 2
        said = capsys.readouterr().err
        assert f"{there} exists already; choose another name or remove it first" in said
    assert Bundle.open(there).model_id == tiny_bundle.model_id
