"""The demo's script."""

import pytest

from codesign_ros.demo.scenario import Event, read_scenario, without_emulation
from codesign_ros.resources import resource_path
from codesign_ros.types.errors import CodesignError

EMULATION = "emulation: {robot_slowdown: 2, server_slowdown: 0, link_bps: 1.0e+6}\n"


def write(tmp_path, text):
    path = tmp_path / "demo.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("script", ["demo.yaml", "demo_classifier.yaml"])
def test_the_package_scripts_have_the_events_of_the_demo(script):
    scenario = read_scenario(resource_path("config") / script)
    assert [e.tail for e in scenario.events if e.tail] == ["deactivate", "activate"]
    assert any(e.link_bps for e in scenario.events)
    assert [e.at for e in scenario.events] == sorted(e.at for e in scenario.events)


def test_without_emulation_only_the_server_comes_and_goes():
    scenario = without_emulation(read_scenario(resource_path("config") / "demo.yaml"))
    assert scenario.emulation == {}
    assert all(event.link_bps is None for event in scenario.events)


def test_events_come_in_order(tmp_path):
    text = EMULATION + "events: [{at: 0.5, tail: activate}, {at: 0.2, link_bps: 5}]\n"
    scenario = read_scenario(write(tmp_path, text))
    assert scenario.events == (Event(0.2, link_bps=5.0), Event(0.5, tail="activate"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "- emulation",
        "emulation:",
        "[",
        "[" * 5000,
        "emulation: 3",
        "emulation: {robot_slowdown: fast, server_slowdown: 0, link_bps: 0}",
        EMULATION + "events: [{at: 2, tail: activate}]",
        EMULATION + "events: [{at: 0.5, tail: explode}]",
        EMULATION + "events: [{at: 0.5}]",
        EMULATION + "events: [{at: 0.5, wind: 3}]",
        EMULATION + "events: [7]",
        EMULATION + "parameters: {head: 3}",
    ],
)
def test_what_is_not_understood_is_one_line(tmp_path, text):
    with pytest.raises(CodesignError) as error:
        read_scenario(write(tmp_path, text))
    assert "demo.yaml" in str(error.value)
    assert "\n" not in str(error.value)
    assert "'NoneType'" not in str(error.value)


def test_a_missing_script_is_one_line(tmp_path):
    with pytest.raises(CodesignError, match="cannot be read"):
        read_scenario(tmp_path / "none.yaml")
