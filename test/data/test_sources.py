import itertools
import os

import cv2
import numpy as np
import pytest

from codesign_ros.data.bag_writer import write_mine_bag
from codesign_ros.data.chosen import open_chosen
from codesign_ros.data.classes import ClassChoice
from codesign_ros.data.sources import open_source
from codesign_ros.mine.generator import MineGenerator
from codesign_ros.pixels.decode import ImageError, to_rgb
from codesign_ros.types.errors import CodesignError
from support.label_files import with_orientation


def pictures(count):
    """Plain pictures (BGR), each of another grey."""
    return [np.full((48, 64, 3), 20 + 40 * n, np.uint8) for n in range(count)]


def video(path, count=5, fps=12.0):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, (64, 48))
    for picture in pictures(count):
        writer.write(picture)
    writer.release()
    return path


def test_mine():
    source = open_source("mine:3", frames=2)
    assert (source.frames, source.fps, source.live) == (2, 30.0, False)
    played = list(source)
    film = list(MineGenerator(3).sequence(2))
    assert [f.truth for f in played] == [f.truth for f in film]
    assert [f.stamp_ns for f in played] == [0, 33333333]
    frame = played[1]
    rgb = to_rgb(frame.data, frame.encoding, height=400, width=640, step=frame.step)
    assert np.array_equal(rgb[..., ::-1], film[1].image)


def test_mine_without_end_and_seed_argument():
    source = open_source("mine", seed=3)
    assert source.frames is None
    first = next(iter(source))
    assert first.data == next(iter(open_source("mine:3"))).data


def test_bag(tmp_path):
    write_mine_bag(tmp_path / "bag", seed=1, frames=3)
    source = open_source(str(tmp_path / "bag"))
    assert source.frames == 3
    assert [f.encoding for f in source] == ["jpeg"] * 3
    limited = open_source(str(tmp_path / "bag"), frames=2)
    assert limited.frames == 2
    assert len(list(limited)) == 2
    assert open_source(str(tmp_path / "bag"), frames=9).frames == 3


def test_the_metadata_of_a_bag_are_not_the_bag(tmp_path):
    write_mine_bag(tmp_path / "bag", seed=1, frames=1)
    with pytest.raises(CodesignError, match=r"metadata; give its folder, .*/bag$"):
        open_source(str(tmp_path / "bag" / "metadata.yaml"))


def test_folder_is_read_in_order_of_names(tmp_path):
    for name, picture in zip(("b.png", "a.jpg", "c.PNG"), pictures(3), strict=True):
        cv2.imwrite(str(tmp_path / name), picture)
    (tmp_path / "notes.txt").write_text("not a picture")
    source = open_source(str(tmp_path), fps=10.0)
    assert (source.frames, source.fps) == (3, 10.0)
    played = list(source)
    assert [f.encoding for f in played] == ["jpeg", "png", "png"]
    assert [f.stamp_ns for f in played] == [0, 100_000_000, 200_000_000]
    greys = [int(to_rgb(f.data, f.encoding).mean()) for f in played]
    assert greys == [60, 20, 100]
    assert [(f.height, f.width) for f in played] == [(48, 64)] * 3


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_pictures_of_a_folder_are_upright(tmp_path, orientation):
    picture = MineGenerator(0).frame(1).image
    path = tmp_path / "a.jpg"
    cv2.imwrite(str(path), picture)
    with_orientation(path, orientation)
    (frame,) = open_source(str(tmp_path))
    upright = cv2.imread(str(path), cv2.IMREAD_COLOR)[..., ::-1]  # by default as EXIF says
    assert np.array_equal(frame.rgb(), upright)
    assert (frame.height, frame.width) == upright.shape[:2]
    # One that is upright as it is need not be decoded on its way.
    assert (frame.encoding == "jpeg") == (orientation == 1)


def test_folder_without_images_or_with_a_broken_one(tmp_path):
    with pytest.raises(CodesignError, match="has no images"):
        open_source(str(tmp_path))
    cv2.imwrite(str(tmp_path / "a.png"), pictures(1)[0])
    for name, data in (("b.jpg", b"nothing"), ("c.jpg", b"")):
        (tmp_path / name).write_bytes(data)
    cv2.imwrite(str(tmp_path / "d.png"), pictures(1)[0])
    frames = list(open_source(str(tmp_path)))
    assert [frame.height for frame in frames] == [48, 0, 0, 48]
    with pytest.raises(ImageError, match="0 bytes of compressed image are neither JPEG nor PNG"):
        frames[2].rgb()
    source = open_chosen(str(tmp_path), ClassChoice(), "detection", ())
    assert len(list(source)) == 2
    assert source.broken[0].startswith(f"frame 1 ({tmp_path}/b.jpg) is broken and is left out: ")
    (tmp_path / "e.jpg").mkdir()
    with pytest.raises(CodesignError, match=r"e\.jpg cannot be read: Is a directory"):
        list(open_source(str(tmp_path)))


def test_video(tmp_path):
    source = open_source(str(video(tmp_path / "film.avi")))
    assert (source.frames, source.live) == (5, False)
    assert source.fps == pytest.approx(12.0)
    for _ in range(2):  # iterating again starts again
        played = list(source)
        assert len(played) == 5
        assert [round(f.stamp_ns / 1e6) for f in played] == [0, 83, 167, 250, 333]
        for frame, picture in zip(played, pictures(5), strict=True):
            rgb = to_rgb(frame.data, frame.encoding, height=48, width=64, step=frame.step)
            assert np.abs(rgb.astype(int) - picture).max() <= 4


def test_no_video(tmp_path, capfd):
    text = tmp_path / "film.mp4"
    text.write_text("not a film")
    with pytest.raises(CodesignError, match="neither a bag nor a video"):
        open_source(str(text))
    assert capfd.readouterr().err == ""


def test_missing(tmp_path):
    with pytest.raises(
        CodesignError, match="rtsp://host/1 is an address, and no file: give a pipel"
    ):
        open_source("rtsp://host/1")
    with pytest.raises(CodesignError, match="does not exist"):
        open_source(str(tmp_path / "nowhere.mp4"))
    with pytest.raises(CodesignError, match="camera /dev/video97 does not exist"):
        open_source("/dev/video97")
    with pytest.raises(CodesignError, match="source ~no_such_user/bag does not exist"):
        open_source("~no_such_user/bag")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CodesignError, match="pipe is neither a file nor a folder"):
        open_source(str(tmp_path / "pipe"))
    for nothing in ("", " "):
        with pytest.raises(CodesignError, match="a source needs a name"):
            open_source(nothing)
    with pytest.raises(CodesignError, match=r"source x{300} cannot be opened: File name too long"):
        open_source("x" * 300)


def test_a_device_that_is_no_camera(capfd):
    with pytest.raises(CodesignError, match="/dev/null is no camera"):
        open_source("/dev/null")
    assert capfd.readouterr().err == ""


def test_independent_scenes():
    source = open_source("scenes:3", frames=2)
    generator = MineGenerator(3)
    for number, frame in enumerate(source):
        assert frame.data == generator.frame(number).image.tobytes()
        assert frame.truth == generator.frame(number).truth
    assert source.frames == 2


@pytest.mark.parametrize("spec", ["mine:", "mine:x", "mine:-1", "scenes:x"])
def test_bad_seed(spec):
    with pytest.raises(CodesignError, match="whole number"):
        open_source(spec)


@pytest.mark.parametrize("arguments", [{"frames": -1}, {"fps": 0.0}])
def test_bad_arguments(arguments):
    with pytest.raises(CodesignError, match="frames >= 0 and fps > 0"):
        open_source("mine", **arguments)


def test_limit_of_an_endless_source():
    assert len(list(itertools.islice(open_source("mine:1", frames=1), 5))) == 1
