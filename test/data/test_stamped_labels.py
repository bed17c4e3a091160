"""Labels beside a recording, matched by stamps."""

import cv2
import numpy as np
import pytest

from codesign_ros.data.chosen import open_chosen
from codesign_ros.data.classes import ClassChoice
from codesign_ros.data.frames import SourceFrame
from codesign_ros.data.labelled import open_detection_set
from codesign_ros.data.stamped_labels import StampedLabels, stamp_of
from codesign_ros.types.errors import CodesignError

FIRST_NS = 1_700_000_000_123_456_789


@pytest.mark.parametrize(
    ("stem", "read"),
    [
        ("1700000000123456789", (FIRST_NS, 1)),
        ("1700000000.123456789", (FIRST_NS, 1)),
        ("frame_1700000000_123456", (1_700_000_000_123_456_000, 1000)),
        ("left-1700000000", (1_700_000_000_000_000_000, 10**9)),
        ("12.000000005", (12_000_000_005, 1)),
        ("000012", None),
        ("IMG_20240101", None),
    ],
)
def test_stamps_in_names(stem, read):
    assert stamp_of(stem) == read


class Recording:
    fps, live, frames = 10.0, False, 3

    def __iter__(self):
        for number in range(self.frames):
            stamp_ns = FIRST_NS + number * 10**8
            yield SourceFrame(stamp_ns, bytes(48), "mono8", 6, 8, 8)


def yolo(folder, names):
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    (folder / "classes.txt").write_text("helmet\n")
    (folder / "data.yaml").write_text("train: images\nval: images\nnames: [helmet]\n")
    for name in names:
        cv2.imwrite(str(folder / "images" / f"{name}.png"), np.zeros((6, 8), np.uint8))
        (folder / "labels" / f"{name}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    return folder


def test_frames_have_the_boxes_of_their_stamp(tmp_path):
    # The second's name is in microseconds; the third has none.
    names = [f"{FIRST_NS}", f"{(FIRST_NS + 10**8) // 1000}"]
    labelled = open_detection_set(yolo(tmp_path / "set", names), "val")
    first, second, third = StampedLabels(Recording(), labelled)
    assert first.truth.boxes == second.truth.boxes
    assert [box.label for box in first.truth.boxes] == ["helmet"]
    assert third.truth is None


def test_names_that_are_no_stamps(tmp_path):
    labelled = open_detection_set(yolo(tmp_path / "set", ["000001"]), "val")
    with pytest.raises(CodesignError, match="must be the frame's stamp"):
        StampedLabels(Recording(), labelled)


def test_a_bag_with_labels_beside_it(tmp_path):
    from codesign_ros.data.bag_writer import START_NS, write_mine_bag

    write_mine_bag(tmp_path / "bag", seed=3, frames=2, fps=10.0)
    folder = yolo(tmp_path / "set", [str(START_NS)])
    source = open_chosen(
        str(tmp_path / "bag"), ClassChoice(), "detection", ("helmet",), labels=str(folder)
    )
    assert source.box_classes == ("helmet",)
    first, second = source
    assert len(first.truth.boxes) == 1
    assert second.truth is None
