"""The programs in benchmarks/ can be started: what they import is where they look for it."""

import importlib
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "benchmarks"
PROGRAMS = sorted(
    path
    for path in (*FOLDER.glob("*.py"), *FOLDER.glob("*/*.py"))
    if "argparse" in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: str(path.relative_to(FOLDER)))
def test_a_program_tells_its_options(program):
    needs_ros = program.stem in ("transport", "fuzz")
    needs_ros = needs_ros or "testbed" in program.read_text(encoding="utf-8")
    if needs_ros and importlib.util.find_spec("rclpy") is None:
        pytest.skip("needs ROS 2")
    done = subprocess.run(
        [sys.executable, str(program), "--help"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "--help" in done.stdout


def test_a_slower_plan_after_a_switch_is_no_pause(monkeypatch):
    np = pytest.importorskip("numpy")
    pytest.importorskip("rclpy")
    monkeypatch.syspath_prepend(FOLDER / "faults")
    pause = importlib.import_module("endurance").pause
    quick, slow = np.arange(0.0, 5.0, 0.03), np.arange(5.0, 10.0, 0.06)
    assert pause(np.concatenate([quick, slow]), 5.0) == pytest.approx((0.0, 0.06), abs=1e-9)
    assert pause(np.concatenate([quick, slow + 0.1]), 5.0)[0] == pytest.approx(0.06, abs=1e-9)
    assert pause(np.array([1.0, 9.0]), 5.0) == (1.0, 0.0)
