"""Cameras through GStreamer: a Jetson's CSI cameras, and whatever a pipeline can bring.

Through PyGObject, which is a package of the system: the OpenCV of pip is built without GStreamer,
and OpenCV's own source hands out neither JPEGs nor the reason why a camera failed. ``gi`` is
imported when the first such camera is opened, so that everything else works without it.

``nvarguscamerasrc`` and ``nvvidconv`` never ran: they exist on Jetsons alone. The rest was tried
with GStreamer 1.22 and its test source; nothing newer than 1.16 (JetPack 5) is called.
"""

from __future__ import annotations

import functools
import re
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

from codesign_ros.data.frames import SourceFrame
from codesign_ros.pixels.decode import compressed_size
from codesign_ros.types.errors import CodesignError, one_line

SINK = "frames"
"""Name of the appsink that frames are taken from."""

_TAIL = f"videoconvert ! video/x-raw,format=RGB ! appsink name={SINK} sync=false"

# GStreamer's names of what we take: the encoding's, and bytes a pixel.
_RAW = {"RGB": ("rgb8", 3), "BGR": ("bgr8", 3), "GRAY8": ("mono8", 1)}

_PATIENCE_S = 5.0  # without a frame
_GLANCE_S = 0.1  # between looks at whether to stop

_MISSING = (
    "cameras through GStreamer need PyGObject: apt install python3-gi "
    "gir1.2-gst-plugins-base-1.0 gstreamer1.0-plugins-good, and a virtual environment that sees "
    "the system's packages"
)


def check_no_address(spec: str) -> None:
    """Refuse the address of a stream.

    Raises:
        CodesignError: it is one.
    """
    if "://" in spec:
        raise CodesignError(
            f"source {spec} is an address, and no file: give a pipeline that opens it, as in "
            "'gstreamer:rtspsrc location=rtsp://HOST/PATH ! decodebin'"
        )


def is_gstreamer(spec: str) -> bool:
    """Whether a source is ``csi``, ``csi:SENSOR_ID`` or ``gstreamer:PIPELINE``."""
    return spec.partition(":")[0] in ("csi", "gstreamer")


def pipeline_of(spec: str, fps: float, size: tuple[int, int] = (0, 0)) -> str:
    """Write the pipeline of a source, as for ``gst-launch-1.0``, down to the appsink ``frames``.

    Args:
        spec: ``csi``, ``csi:SENSOR_ID``, or ``gstreamer:PIPELINE``. A pipeline without an appsink
            gets one that takes RGB.
        fps: frames per second asked of a CSI camera; a pipeline says that itself.
        size: width and height asked of a CSI camera [px]; 0 = its own.

    Raises:
        CodesignError: the sensor is no number, or the pipeline is empty.
    """
    kind, _, rest = spec.partition(":")
    if kind == "gstreamer":
        if not rest.strip():
            raise CodesignError(
                f"source '{spec}' has no pipeline: as in 'gstreamer:v4l2src device=/dev/video0'"
            )
        return rest if re.search(r"\bappsink\b", rest) else f"{rest} ! {_TAIL}"
    if spec != "csi" and not rest.isdecimal():
        raise CodesignError(f"source '{spec}': the sensor must be a whole number, as in csi:1")
    width, height = size
    rate = Fraction(fps).limit_denominator(1001)
    caps = [f"framerate={rate.numerator}/{rate.denominator}"]
    caps += [f"width={width}"] if width else []
    caps += [f"height={height}"] if height else []
    # The frames stay in the camera's own memory (NVMM) until nvvidconv has converted them; it has
    # no format of three bytes, hence the second converter.
    return (
        f"nvarguscamerasrc sensor-id={int(rest or 0)} "
        f"! video/x-raw(memory:NVMM),format=NV12,{','.join(caps)} "
        f"! nvvidconv ! video/x-raw,format=BGRx ! {_TAIL}"
    )


class GstreamerSource:
    """A live source, stamped with this machine's clock when a frame arrives.

    Of frames that come faster than they are taken only the newest is kept. A pipeline whose appsink
    gets ``image/jpeg`` hands those JPEGs out as they are.

    Args:
        spec: see ``pipeline_of``.
        fps: likewise.
        size: likewise.
        stopping: ends an iteration when set, though no frame comes; None = nothing does.

    Raises:
        CodesignError: GStreamer or a plugin is missing, the pipeline is wrong, or its devices
            cannot be opened.
    """

    live = True
    frames = None

    def __init__(
        self,
        spec: str,
        fps: float,
        size: tuple[int, int] = (0, 0),
        stopping: threading.Event | None = None,
    ) -> None:
        self.fps = fps
        self._spec = spec
        self._text = pipeline_of(spec, fps, size)
        self._stopping = stopping or threading.Event()
        pipeline, _ = self._make()
        # Opens most devices, so that a camera that is missing or in use is refused at once.
        self._change(pipeline, "READY")
        self._change(pipeline, "NULL")

    def __iter__(self) -> Iterator[SourceFrame]:
        gst = _load().Gst
        pipeline, sink = self._make()
        try:
            self._change(pipeline, "PLAYING")
            last_s = time.monotonic()
            while not self._stopping.is_set():
                sample = sink.try_pull_sample(round(_GLANCE_S * gst.SECOND))
                if sample is not None:
                    yield self._frame(sample)
                    last_s = time.monotonic()
                # Looked at after every frame too: messages that nobody takes pile up.
                self._raise_error(pipeline)
                if sink.is_eos():
                    raise CodesignError(f"camera {self._spec} stopped sending frames")
                if time.monotonic() - last_s > _PATIENCE_S:
                    raise CodesignError(
                        f"camera {self._spec} sent no frame for {_PATIENCE_S:g} s; try: "
                        f"gst-launch-1.0 -v {self._text}"
                    )
        finally:
            pipeline.set_state(gst.State.NULL)

    def _make(self) -> tuple[Any, Any]:
        """Make the pipeline, and find its appsink. Nothing is opened yet."""
        lib = _load()
        try:
            pipeline = lib.Gst.parse_launch(self._text)
        except lib.GLib.Error as error:
            raise CodesignError(f"camera {self._spec}: {_explain(error.message)}") from None
        sink = pipeline.get_by_name(SINK) if isinstance(pipeline, lib.Gst.Bin) else None
        if not isinstance(sink, lib.App.AppSink):
            raise CodesignError(
                f"camera {self._spec}: call the appsink at the end of the pipeline {SINK}: "
                f"appsink name={SINK}"
            )
        sink.set_property("max-buffers", 1)
        sink.set_property("drop", True)
        return pipeline, sink

    def _change(self, pipeline: Any, state: str) -> None:
        gst = _load().Gst
        if pipeline.set_state(getattr(gst.State, state)) != gst.StateChangeReturn.FAILURE:
            return
        try:
            self._raise_error(pipeline)
        finally:
            pipeline.set_state(gst.State.NULL)
        raise CodesignError(f"camera {self._spec} cannot be started (GStreamer does not say why)")

    def _raise_error(self, pipeline: Any) -> None:
        """Raise what an element reported, if one did; all other messages are thrown away."""
        gst = _load().Gst
        message = pipeline.get_bus().pop_filtered(gst.MessageType.ERROR)
        if message is not None:
            error, _ = message.parse_error()
            words = one_line(error.message)
            raise CodesignError(f"camera {self._spec}: {message.src.get_name()}: {words}")

    def _frame(self, sample: Any) -> SourceFrame:
        stamp_ns = time.time_ns()
        buffer, caps = sample.get_buffer(), sample.get_caps().get_structure(0)
        data = bytes(buffer.extract_dup(0, buffer.get_size()))
        if caps.get_name() == "image/jpeg":
            height, width = caps.get_value("height"), caps.get_value("width")
            if not height or not width:
                height, width = compressed_size(data)
            return SourceFrame(stamp_ns, data, "jpeg", height, width, 0)
        pixel = caps.get_value("format") if caps.get_name() == "video/x-raw" else None
        if pixel not in _RAW:
            raise CodesignError(
                f"camera {self._spec} sends {caps.get_name()}{f' {pixel}' if pixel else ''}, not "
                f"{', '.join(_RAW)} or JPEG: put 'videoconvert ! video/x-raw,format=RGB' before "
                "the appsink"
            )
        encoding, channels = _RAW[pixel]
        height, width = caps.get_value("height"), caps.get_value("width")
        row = width * channels
        meta = _load().Video.buffer_get_video_meta(buffer)
        # Without a note of its own, a row of these formats takes the next multiple of four bytes.
        step, start = (meta.stride[0], meta.offset[0]) if meta else ((row + 3) // 4 * 4, 0)
        if step < row or len(data) < start + step * (height - 1) + row:
            raise CodesignError(
                f"camera {self._spec}: {len(data)} bytes are no {pixel} picture {width}x{height}"
            )
        # The last row may end without its padding.
        pixels = data[start : start + step * height].ljust(step * height, b"\0")
        return SourceFrame(stamp_ns, pixels, encoding, height, width, step)


@functools.cache
def _load() -> Any:
    """Import what we need of GStreamer and start it: a namespace of its libraries."""
    try:
        import gi

        for name in ("Gst", "GstApp", "GstVideo"):
            gi.require_version(name, "1.0")
        from gi.repository import GLib, Gst, GstApp, GstVideo
    except (ImportError, ValueError):
        raise CodesignError(_MISSING) from None
    Gst.init(None)
    return SimpleNamespace(GLib=GLib, Gst=Gst, App=GstApp, Video=GstVideo)


def _explain(message: str) -> str:
    """Add the way out to what GStreamer says of a pipeline that it cannot make."""
    words = one_line(message)
    missing = re.fullmatch(r'no element "(.+)"', words)
    if missing and missing[1].startswith("nv"):
        return (
            f"{words}: it comes with a Jetson (apt install nvidia-l4t-gstreamer); in a container, "
            "with its image"
        )
    if missing:
        return f"{words}: install the GStreamer plugin that has it"
    if "could not link" in words and "videoconvert" in words:
        return (
            f"{words}: frames that are no raw video need an appsink of their own: "
            f"... ! appsink name={SINK}"
        )
    return words
