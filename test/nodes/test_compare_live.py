"""``codesign compare --live``: the real nodes, the recording once under each policy."""

import json
import os

import pytest

from codesign_ros.cli.main import main

pytest_plugins = ("support.ros",)


@pytest.fixture
def environment(site, monkeypatch):
    """The test's own DDS domain for nodes and observer, which the command starts."""
    for name, value in site.environment.items():
        monkeypatch.setenv(name, value)
    return site


def test_every_policy_plays_the_whole_recording(
    environment, node_bundle, picture_folder, pictures, tmp_path
):
    report, page = tmp_path / "live.json", tmp_path / "live.html"
    given = ["compare", str(picture_folder), "--bundle", str(node_bundle.path), "--live"]
    given += ["--policy", "device_only", "cut:3", "neurosurgeon", "--arrivals", "fast"]
    given += ["--codec", "raw", "--link", "100mbps", "--robot-slowdown", "20"]
    given += ["--json", str(report), "--html", str(page)]
    assert main(given) == 0
    found = json.loads(report.read_text())
    frames = len(pictures)
    assert found["frames"] == frames
    assert "run, not simulated" in found["run"]
    assert "simulated" not in found
    alone, split = found["policies"]["device_only"], found["policies"]["cut:3"]
    for each in (alone, split):
        assert each["answered"] == frames
        # Raw and uncut it is what one process says of the same frame: none was taken for another.
        assert each["accuracy"] == 1.0
    assert alone["finished"]["robot"] == frames
    assert alone["payload_bytes"] == 0 < split["payload_bytes"]
    assert [plan["cut"] for plan in split["plans"]] == [3]
    assert alone["stages_ms"]["server"] == 0 < split["stages_ms"]["server"]
    text = page.read_text()
    assert "Run, not simulated" in text
    assert "Use <b>" in text
    assert os.environ["ROS_DOMAIN_ID"] == str(environment.domain)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--live", "--arrivals", "poisson:10hz"], "no exponential gaps"),
        (["--live", "--link", "fading-radio"], "--live holds one rate of the link"),
        (["--testbed", "--robot", "nano"], "--testbed runs what is there and takes no times: "
         "leave --robot out"),
        (["--live", "--robot-slowdown", "0.5"], "--robot-slowdown must be at least 1"),
        (["--live", "--testbed"], "not allowed with"),
    ],
)  # fmt: skip
def test_mistakes(picture_folder, node_bundle, capsys, given, words):
    assert main(["compare", str(picture_folder), "--bundle", str(node_bundle.path), *given]) == 2
    said = capsys.readouterr().err
    assert words in said


def test_a_bed_wants_root(picture_folder, node_bundle, capsys, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert main(["compare", str(picture_folder), "--bundle", str(node_bundle.path),
                 "--testbed"]) == 2  # fmt: skip
    assert "run it as root" in capsys.readouterr().err
