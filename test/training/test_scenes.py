"""Scenes on disk are drawn once and taken from there the next time."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from rich.progress import Progress

from codesign_ros.training import scenes as module
from codesign_ros.training.options import MINE
from codesign_ros.training.scenes import SceneOptions, train_and_val_scenes
from codesign_ros.types.errors import CodesignError
from support.paths import ROOT


def opened(folder, **changes):
    options = SceneOptions(
        data=MINE, **{"seed": 4, "frames": 3, "val_frames": 2, "threads": 1, **changes},
        scenes=folder,
    )  # fmt: skip
    with train_and_val_scenes(options, Progress(disable=True)) as (train, val):
        return [(np.array(s.images), s.labels.tolist(), s.boxes, s.name) for s in (train, val)]


def same(one, other):
    return all(
        np.array_equal(a[0], b[0]) and a[1:] == b[1:] for a, b in zip(one, other, strict=True)
    )


def test_kept_scenes_are_taken_and_not_drawn_again(tmp_path, monkeypatch):
    folder = tmp_path / "scenes"
    first = opened(folder)
    assert same(first, opened(None))
    with monkeypatch.context() as patch:
        patch.setattr(module, "render_scenes", lambda *_, **__: pytest.fail("drawn again"))
        assert same(first, opened(folder))
    # Of another version of the mine, or cut off, they are drawn anew.
    (text,) = folder.glob("train*.json")
    document = json.loads(text.read_text())
    text.write_text(json.dumps({**document, "version": 0, "labels": [7, 7, 7]}))
    assert same(first, opened(folder))
    picture = text.with_suffix("")
    picture.write_bytes(picture.read_bytes()[:-1])
    assert same(first, opened(folder))


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CodesignError, match="cannot write"):
        opened(tmp_path / "file" / "scenes")


DRAWING = """
import sys
from pathlib import Path
from codesign_ros.training.scenes import render_scenes

def drawn(count):
    print("drawn", flush=True)

if __name__ == "__main__":
    render_scenes(Path(sys.argv[1]) / "scenes", 4, 2000, on_rendered=drawn)
"""


@pytest.mark.parametrize("draws", [False, True])
def test_an_interrupt_at_the_terminal_ends_all_that_draw_at_once(tmp_path, draws):
    script = tmp_path / "drawing.py"
    script.write_text(DRAWING)
    with subprocess.Popen(
        [sys.executable, script, tmp_path],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, *sys.path)))},
    ) as process:
        if draws:
            assert process.stdout.readline() == "drawn\n"
        else:  # while they load their libraries
            while len(session_of(process.pid)) < 4:
                time.sleep(0.01)
        begun = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)
        error = process.stderr.read()
        assert process.wait() == -signal.SIGINT
        while session_of(process.pid):
            time.sleep(0.01)
        assert time.monotonic() - begun < 4
    assert error.count("Traceback") == 1
    assert error.strip().endswith("KeyboardInterrupt")


def session_of(leader):
    """The processes of a session that live."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, _, session = stat.read_text().rpartition(")")[2].split()[:4]
            found += [stat] if int(session) == leader and state != "Z" else []
    return found
