"""Scenes on disk are drawn once and taken from there the next time."""

import json

import numpy as np
import pytest
from rich.progress import Progress

from codesign_ros.training import scenes as module
from codesign_ros.training.options import MINE
from codesign_ros.training.scenes import SceneOptions, train_and_val_scenes
from codesign_ros.types.errors import CodesignError


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
