"""The doctor's report and exit status."""

import json

import pytest
from rich.console import Console

from codesign_ros.cli.main import main
from codesign_ros.doctor import examine
from codesign_ros.doctor.finding import exit_status, fail, ok, warn
from codesign_ros.doctor.peers import Heard
from codesign_ros.doctor.report import content, findings_of, report_table, summary
from codesign_ros.runtime.news import Graph

GROUPS = {
    "network": [ok("MTU eth0", "1500 bytes"), warn("MTU wlan0", "576 bytes", "ip link [set]")],
    "nodes": [fail("names", "two heads", "end one")],
}


def test_only_a_failure_fails():
    assert exit_status([ok("a", ""), warn("b", "", "c")]) == 0
    assert exit_status([ok("a", ""), fail("b", "", "c")]) == 1


def test_the_table_has_every_finding_and_what_to_change():
    console = Console(width=100)
    with console.capture() as shown:
        console.print(report_table(GROUPS))
    for word in ("MTU eth0", "576 bytes", "-> ip link [set]", "FAIL", "-> end one"):
        assert word in shown.get()
    assert summary(GROUPS) == "1 OK, 1 WARN, 1 FAIL"


def test_json_has_every_finding():
    assert content(GROUPS)["counts"] == {"OK": 1, "WARN": 1, "FAIL": 1}
    assert [check["check"] for check in content(GROUPS)["checks"]] == [
        finding.check for finding in findings_of(GROUPS)
    ]


@pytest.mark.parametrize("expected", [(), ("tail",)])
def test_the_command_ends_as_the_checks_do(monkeypatch, capsys, expected):
    monkeypatch.setattr(examine, "listen", lambda seconds: Heard(seconds, Graph(), []))
    arguments = ["doctor", "--json", "--seconds", "0"]
    status = main([*arguments, *(["--expect", *expected] if expected else [])])
    out = json.loads(capsys.readouterr().out)
    assert status == (1 if out["counts"]["FAIL"] else 0)
    assert status == 1 or not expected


def test_a_machine_where_ros_cannot_be_started(monkeypatch, capsys):
    monkeypatch.setattr(examine, "listen", lambda seconds: fail("ROS 2", "no ROS", "install it"))
    assert main(["doctor", "--json"]) == 1
    out = json.loads(capsys.readouterr().out)
    assert {"group": "the nodes", "check": "ROS 2", "verdict": "FAIL", "found": "no ROS",
            "change": "install it"} in out["checks"]  # fmt: skip
