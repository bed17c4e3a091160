import json

import cv2
import numpy as np
import pytest

from codesign_ros.cli.main import main
from codesign_ros.data.camera_jpeg import camera_jpegs
from codesign_ros.data.sources import open_source
from codesign_ros.types.errors import CodesignError


@pytest.mark.parametrize("quality", [1, 50, 90])
def test_frames_are_those_of_a_camera_that_writes_jpegs(quality):
    source = open_source("mine:3", frames=2)
    for before, after in zip(source, camera_jpegs(source, quality), strict=True):
        assert (after.encoding, after.truth, after.stamp_ns) == (
            "jpeg",
            before.truth,
            before.stamp_ns,
        )
        # OpenCV halves colours unless told otherwise.
        bgr = cv2.cvtColor(before.rgb(), cv2.COLOR_RGB2BGR)
        _, wanted = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
        assert after.data == wanted.tobytes()
        read = cv2.imdecode(wanted, cv2.IMREAD_COLOR)
        assert np.array_equal(after.rgb(), cv2.cvtColor(read, cv2.COLOR_BGR2RGB))


def test_what_no_jpeg_holds_is_one_line(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((1, 65536, 3), np.uint8))
    with pytest.raises(CodesignError, match=r"a frame \(1, 65536, 3\) cannot be written as a JPEG"):
        list(camera_jpegs(open_source(str(tmp_path)), 90))


def test_an_evaluation_sees_what_the_camera_sent(tiny_bundle, tmp_path, capsys):
    sent = ["evaluate", "mine:3", "--frames", "2", "--bundle", str(tiny_bundle.path)]
    out = tmp_path / "out.json"

    def bytes_a_frame(*options):
        assert main([*sent, "--cut", "0", "--codec", "jpeg", "--json", str(out), *options]) == 0
        return json.loads(out.read_text())["wire_bytes_per_frame"]

    # What is sent is of the network's size, so that it is written again.
    assert bytes_a_frame("--camera-jpeg", "5") != bytes_a_frame()
    capsys.readouterr()
    assert main([*sent, "--camera-jpeg", "0"]) == 2
    assert "--camera-jpeg must be at least 1, not 0" in capsys.readouterr().err
