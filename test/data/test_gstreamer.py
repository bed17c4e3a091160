"""Cameras through GStreamer: pipelines and errors everywhere, frames where PyGObject is."""

import itertools
import os
import sys
import threading
import warnings

import cv2
import numpy as np
import pytest

from codesign_ros.data import gstreamer
from codesign_ros.data.gstreamer import GstreamerSource, is_gstreamer, pipeline_of
from codesign_ros.data.sources import open_source
from codesign_ros.pixels.decode import to_rgb
from codesign_ros.types.errors import CodesignError


def has_gstreamer():
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            gstreamer._load()
    except CodesignError:
        return False
    return True


gst = pytest.mark.skipif(
    not has_gstreamer(), reason="PyGObject with GStreamer is not installed (apt: python3-gi)"
)
JETSON = gstreamer._TAIL


def rgb_of(frame):
    return to_rgb(
        frame.data, frame.encoding, height=frame.height, width=frame.width, step=frame.step
    )


@pytest.fixture
def picture(tmp_path):
    """A PNG whose rows are no multiple of four bytes, and a source of it that never ends."""
    rgb = np.random.default_rng(1).integers(0, 256, (21, 33, 3), np.uint8)
    file = tmp_path / "picture.png"
    cv2.imwrite(str(file), cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    return rgb, f"multifilesrc location={file} loop=true ! pngdec"


# The text of pipelines ----------------------------------------------------------------------------


def test_which_sources_are_gstreamers():
    assert all(map(is_gstreamer, ("csi", "csi:1", "gstreamer:videotestsrc", "csi:x")))
    assert not any(map(is_gstreamer, ("csi_videos", "/dev/video0", "mine:1", "gstreamer.mp4")))


@pytest.mark.parametrize(
    ("spec", "size", "fps", "wanted"),
    [
        ("csi", (0, 0), 30.0, "sensor-id=0 ! video/x-raw(memory:NVMM),format=NV12,framerate=30/1"),
        (
            "csi:1",
            (1280, 720),
            29.97,
            "sensor-id=1 ! video/x-raw(memory:NVMM),format=NV12,framerate=2997/100,width=1280,"
            "height=720",
        ),
        (
            "csi:12",
            (0, 480),
            0.5,
            "sensor-id=12 ! video/x-raw(memory:NVMM),format=NV12,framerate=1/2,height=480",
        ),
    ],
)
def test_csi_pipeline(spec, size, fps, wanted):
    assert pipeline_of(spec, fps, size) == (
        f"nvarguscamerasrc {wanted} ! nvvidconv ! video/x-raw,format=BGRx ! videoconvert "
        "! video/x-raw,format=RGB ! appsink name=frames sync=false"
    )


def test_a_pipeline_gets_an_appsink_unless_it_has_one():
    assert pipeline_of("gstreamer:a ! b", 30.0) == f"a ! b ! {JETSON}"
    own = "a ! appsink name=frames"
    assert pipeline_of(f"gstreamer:{own}", 30.0) == own
    assert pipeline_of("gstreamer:rtspsrc location=rtsp://host:1/x", 1.0).startswith(
        "rtspsrc location=rtsp://host:1/x !"
    )


@pytest.mark.parametrize("spec", ["csi:", "csi:left", "csi:-1", "csi: 1"])
def test_bad_sensor(spec):
    with pytest.raises(CodesignError, match=r"the sensor must be a whole number, as in csi:1$"):
        open_source(spec)


@pytest.mark.parametrize("spec", ["gstreamer", "gstreamer:", "gstreamer:  "])
def test_no_pipeline(spec):
    with pytest.raises(CodesignError, match="has no pipeline"):
        open_source(spec)


def test_without_pygobject(monkeypatch):
    monkeypatch.setitem(sys.modules, "gi", None)
    gstreamer._load.cache_clear()
    with pytest.raises(CodesignError, match="need PyGObject: apt install python3-gi"):
        open_source("csi")
    gstreamer._load.cache_clear()


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ('no element "nvarguscamerasrc"', "it comes with a Jetson (apt install nvidia-l4t-gst"),
        ('no element "x264dec"', "install the GStreamer plugin that has it"),
        ("could not link jpegenc0 to videoconvert0", "appsink name=frames"),
        ("syntax\nerror", "syntax error"),
    ],
)
def test_what_is_said_of_pipelines_that_cannot_be_made(said, wanted):
    line = gstreamer._explain(said)
    assert wanted in line
    assert "\n" not in line


# Frames -------------------------------------------------------------------------------------------


@gst
@pytest.mark.parametrize(
    ("pixel", "encoding"), [("RGB", "rgb8"), ("BGR", "bgr8"), ("GRAY8", "mono8")]
)
def test_raw_frames_with_padded_rows(picture, pixel, encoding):
    rgb, source = picture
    text = f"{source} ! videoconvert ! video/x-raw,format={pixel} ! appsink name=frames"
    frame = next(iter(open_source(f"gstreamer:{text}")))
    assert (frame.encoding, frame.height, frame.width) == (encoding, 21, 33)
    assert frame.step % 4 == 0
    assert len(frame.data) == frame.step * 21
    if pixel != "GRAY8":
        np.testing.assert_array_equal(rgb_of(frame), rgb)
    else:
        luma = rgb @ (0.299, 0.587, 0.114)
        # GStreamer's grey has the video range, or BT.709's weights: alike, not the same.
        assert np.corrcoef(rgb_of(frame)[..., 0].ravel(), luma.ravel())[0, 1] > 0.9


@gst
def test_rgb_is_asked_for_where_there_is_no_appsink(picture):
    rgb, source = picture
    frames = open_source(f"gstreamer:{source}", frames=3)
    assert (frames.live, frames.frames) == (True, 3)
    for frame in frames:
        np.testing.assert_array_equal(rgb_of(frame), rgb)


@gst
def test_rows_that_are_part_of_wider_ones(picture):
    rgb, source = picture
    crop = "videocrop left=5 right=3 top=2"
    frame = next(iter(open_source(f"gstreamer:{source} ! videoconvert ! {crop}")))
    np.testing.assert_array_equal(rgb_of(frame), rgb[2:, 5:30])


@gst
def test_jpegs_pass_as_they_are(tmp_path):
    picture = np.full((20, 30, 3), (20, 120, 220), np.uint8)
    file = tmp_path / "picture.jpg"
    cv2.imwrite(str(file), picture)
    for caps in ("image/jpeg", "image/jpeg,width=30,height=20"):
        text = f"multifilesrc location={file} caps={caps} loop=true ! appsink name=frames"
        frame = next(iter(open_source(f"gstreamer:{text}")))
        assert (frame.encoding, frame.height, frame.width, frame.step) == ("jpeg", 20, 30, 0)
        assert frame.data == file.read_bytes()


@gst
def test_jpegs_of_an_encoder():
    text = "videotestsrc pattern=white ! video/x-raw,width=64,height=48 ! jpegenc"
    frame = next(iter(open_source(f"gstreamer:{text} ! appsink name=frames")))
    assert (frame.encoding, frame.height, frame.width) == ("jpeg", 48, 64)
    rgb = rgb_of(frame)
    assert rgb.min() > 220  # the encoder keeps video's range, where white is 235
    assert np.ptp(rgb) <= 2


@gst
def test_only_the_newest_frame_is_kept():
    source = iter(open_source("gstreamer:videotestsrc pattern=ball ! video/x-raw,width=64"))
    next(source)
    # The pipeline waits for nobody: it runs on while this thread waits.
    assert len(list(itertools.islice(source, 5))) == 5
    source.close()


@gst
def test_iterating_again_starts_again_and_leaves_nothing(picture):
    source = open_source(f"gstreamer:{picture[1]}")

    def held():
        return [len(os.listdir(f"/proc/self/{kind}")) for kind in ("task", "fd")]

    before = None
    for number in range(25):
        with_frames = iter(source)
        next(with_frames)
        with_frames.close()
        if number == 4:  # GStreamer keeps a few threads for the next time
            before = held()
    threads, files = (after - then for after, then in zip(held(), before, strict=True))
    assert threads < 10
    assert files < 10


# Cameras that fail --------------------------------------------------------------------------------


@gst
@pytest.mark.parametrize(
    ("spec", "line"),
    [
        ("gstreamer:nosuchelement", 'no element "nosuchelement": install the GStreamer plugin'),
        ("gstreamer:videotestsrc !!", "syntax error"),
        ("gstreamer:videotestsrc ! appsink", "call the appsink at the end of the pipeline frames"),
        ("gstreamer:appsink name=frames", "call the appsink at the end of the pipeline frames"),
        (
            "gstreamer:fakesrc ! fakesink name=frames fakesrc ! appsink",
            "call the appsink at the end",
        ),
        ("gstreamer:videotestsrc ! jpegenc", "frames that are no raw video need an appsink"),
        ("gstreamer:videotestsrc nonsense=1", 'no property "nonsense"'),
        ("gstreamer:v4l2src device=/dev/video77", r"v4l2src\d+: Cannot identify device"),
    ],
)
def test_refused_before_it_runs(spec, line):
    with pytest.raises(CodesignError, match=line) as caught:
        open_source(spec)
    assert "\n" not in str(caught.value)


@gst
@pytest.mark.skipif(os.path.exists("/etc/nv_tegra_release"), reason="this is a Jetson")
def test_csi_camera_elsewhere():
    with pytest.raises(CodesignError, match='camera csi: no element "nvarguscamerasrc": it comes'):
        open_source("csi")


@gst
@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("filesrc location=/nowhere.png ! pngdec", r"filesrc\d+: .*not found"),
        ("videotestsrc ! identity error-after=3", r"identity\d+: Failed after iterations"),
        ("videotestsrc num-buffers=3", "stopped sending frames"),
        ("videotestsrc ! video/x-raw,format=I420 ! appsink name=frames", "sends video/x-raw I420,"),
        ("audiotestsrc ! appsink name=frames", "sends audio/x-raw.*, not RGB"),
    ],
)
def test_fails_while_it_runs(text, line):
    source = open_source(f"gstreamer:{text}")
    with pytest.raises(CodesignError, match=line) as caught:
        list(itertools.islice(source, 100))
    assert "\n" not in str(caught.value)


@gst
def test_no_frame_comes(monkeypatch):
    monkeypatch.setattr(gstreamer, "_PATIENCE_S", 0.3)
    source = open_source("gstreamer:appsrc ! video/x-raw,format=RGB,width=8,height=8")
    with pytest.raises(CodesignError, match=r"sent no frame for 0\.3 s; try: gst-launch-1\.0 -v"):
        list(source)


@gst
def test_stopping_ends_the_wait_for_a_frame():
    stopping = threading.Event()
    source = GstreamerSource("gstreamer:appsrc ! video/x-raw,format=RGB", 30.0, stopping=stopping)
    timer = threading.Timer(0.2, stopping.set)
    timer.start()
    assert list(source) == []
    timer.join()
