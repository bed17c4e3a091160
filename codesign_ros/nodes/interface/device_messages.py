"""A device's announcement to its message and back."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable
from typing import Any

from builtin_interfaces.msg import Time
from rclpy.exceptions import InvalidTopicNameException
from rclpy.validate_full_topic_name import validate_full_topic_name

from codesign_ros.cost.half_times import HalfTimes
from codesign_ros.msg import DeviceProfile as DeviceProfileMsg
from codesign_ros.msg import Heartbeat as HeartbeatMsg
from codesign_ros.nodes.interface.messages import copied
from codesign_ros.runtime.device import (
    STATES,
    Device,
    Heartbeat,
    Payload,
    Role,
    StageMedians,
)
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import HalfForm, Merge, Structure

# No link is slower [bit/s]; what is not known is 0.
_LEAST_BPS = 1.0
_DEVICE_FIELDS = (
    "robot", "state", "model_id", "device", "peak_flops", "memory_bandwidth", "memory_bytes",
    "dla_cores", "power_mode",
)  # fmt: skip
_HEARTBEAT_FIELDS = (
    "node", "session", "epoch", "throttled", "link_bps", "link_bps_error", "link_delay_s",
    "link_burst_bytes", "frame_bytes",
)  # fmt: skip
# Those of StageMedians; the message's have running_ before them.
_RUNNING_FIELDS = (
    "epoch", "frames", "head_s", "link_s", "tail_s", "head_gap_s", "tail_gap_s", "head_busy_s",
)  # fmt: skip


def heartbeat_to_msg(beat: Heartbeat, stamp: Time) -> HeartbeatMsg:
    """Heartbeat to message."""
    running = copied(beat.running, _RUNNING_FIELDS)
    payloads = beat.running.payloads
    return HeartbeatMsg(
        stamp=stamp,
        running_codec_name=[each.codec for each in payloads],
        running_codec_frames=array("H", [each.frames for each in payloads]),
        running_codec_bytes=array("f", [each.mean_bytes for each in payloads]),
        running_codec_spread_bytes=array("f", [each.spread_bytes for each in payloads]),
        **copied(beat, _HEARTBEAT_FIELDS),
        **{f"running_{name}": value for name, value in running.items()},
    )


def heartbeat_from_msg(msg: HeartbeatMsg) -> Heartbeat:
    """Message to heartbeat.

    Raises:
        CodesignError: the node's name is none, arrays that belong together differ in length, or a
            time, rate or size is negative or not finite.
    """
    try:
        validate_full_topic_name(msg.node)
    except InvalidTopicNameException:
        raise CodesignError(f"heartbeat of {msg.node!r}: that is no full name of a node") from None
    payloads = (
        msg.running_codec_name, msg.running_codec_frames,
        msg.running_codec_bytes, msg.running_codec_spread_bytes,
    )  # fmt: skip
    if len({*map(len, payloads)}) > 1:
        raise CodesignError(
            f"heartbeat of {msg.node!r}: arrays that belong together differ in length"
        )
    running = StageMedians(
        **{name: getattr(msg, f"running_{name}") for name in _RUNNING_FIELDS},
        payloads=tuple(map(Payload._make, zip(*payloads, strict=True))),
    )
    for number in (
        msg.link_bps, msg.link_bps_error, msg.link_delay_s, msg.link_burst_bytes, msg.frame_bytes,
        running.head_s, running.link_s, running.tail_s,
        running.head_busy_s, running.head_gap_s, running.tail_gap_s,
        *msg.running_codec_bytes, *msg.running_codec_spread_bytes,
    ):  # fmt: skip
        if not 0 <= number < math.inf:
            raise CodesignError(f"heartbeat of {msg.node!r}: {number} is no time, rate or size")
    if 0 < msg.link_bps < _LEAST_BPS:
        raise CodesignError(f"heartbeat of {msg.node!r}: {msg.link_bps} is no time, rate or size")
    return Heartbeat(running=running, **copied(msg, _HEARTBEAT_FIELDS))


def device_to_msg(device: Device, stamp: Time) -> DeviceProfileMsg:
    """Device to message."""
    msg = DeviceProfileMsg(
        heartbeat=heartbeat_to_msg(device, stamp),
        role=int(device.role),
        backends=list(device.backends),
        precisions=list(device.precisions),
        **copied(device, _DEVICE_FIELDS),
    )
    if device.engines is not None:
        msg.builds_ahead = True
        _set_forms(msg, "engine", device.engines)
        msg.engine_built = list(device.engines.values())
    if device.profile is not None:
        profile = device.profile
        _set_forms(msg, "half", profile.half_s)
        msg.half_s = array("f", profile.half_s.values())
        msg.half_measured = [form not in profile.estimated for form in profile.half_s]
        msg.codec_cut = array("H", [cut for cut, _ in profile.codec_s])
        msg.codec_name = [codec for _, codec in profile.codec_s]
        msg.codec_s = array("f", profile.codec_s.values())
        msg.codec_bytes = array("I", [round(profile.codec_bytes[key]) for key in profile.codec_s])
        spread = profile.codec_spread
        msg.codec_bytes_spread = array("f", [spread.get(key, 0.0) for key in profile.codec_s])
        scale = profile.payload_scale
        msg.scale_cut = array("H", [cut for cut, _, _ in scale])
        msg.scale_codec = [codec for _, codec, _ in scale]
        msg.scale_precision = [precision for _, _, precision in scale]
        msg.scale = array("f", scale.values())
    return msg


def device_from_msg(msg: DeviceProfileMsg) -> Device:
    """Message to device.

    Raises:
        CodesignError: the heartbeat makes no sense, the node is not in its robot's namespace, role,
            state, a structure or a merge is not known, arrays that belong together differ in
            length, or a time, rate or size is negative or not finite.
    """
    beat = heartbeat_from_msg(msg.heartbeat)
    namespace = beat.node.rpartition("/")[0]
    # That of one of several servers is one below.
    places = (namespace, namespace.rpartition("/")[0]) if msg.role == Role.TAIL else (namespace,)
    if msg.robot not in (places if namespace else ("/",)):
        raise CodesignError(
            f"profile of {beat.node!r}: it is not in the namespace of robot {msg.robot!r}"
        )
    if msg.state not in STATES:
        raise CodesignError(f"profile of {beat.node!r}: unknown state {msg.state!r}")
    halves = *_form_arrays(msg, "half"), msg.half_s, msg.half_measured
    codecs = (
        msg.codec_cut, msg.codec_name, msg.codec_s, msg.codec_bytes, msg.codec_bytes_spread,
    )  # fmt: skip
    scales = msg.scale_cut, msg.scale_codec, msg.scale_precision, msg.scale
    engines = *_form_arrays(msg, "engine"), msg.engine_built
    if any(len({*map(len, arrays)}) > 1 for arrays in (halves, codecs, scales, engines)):
        raise CodesignError(
            f"profile of {beat.node!r}: arrays that belong together differ in length"
        )
    for number in (msg.peak_flops, msg.memory_bandwidth):
        if not 0 <= number < math.inf:
            raise CodesignError(f"profile of {beat.node!r}: {number} is no time, rate or size")
    try:
        rows = (zip(*arrays, strict=True) for arrays in (halves, codecs, scales))
        profile = HalfTimes.from_rows(*rows)
        built = {
            HalfForm(cut, Structure(structure), Merge(merge), precision, neck): is_built
            for cut, structure, merge, precision, neck, is_built in zip(*engines, strict=True)
        }
        role = Role(msg.role)
    except ValueError as error:
        raise CodesignError(f"profile of {beat.node!r}: {error}") from None
    return Device(
        role=role,
        backends=tuple(msg.backends),
        precisions=tuple(msg.precisions),
        engines=built if msg.builds_ahead else None,
        profile=profile if profile.half_s else None,
        **vars(beat),
        **copied(msg, _DEVICE_FIELDS),
    )


def _set_forms(msg: DeviceProfileMsg, of: str, forms: Iterable[HalfForm]) -> None:
    """Write halves into the four arrays that say which they are, ``half_*`` or ``engine_*``."""
    columns = list(zip(*forms, strict=True)) or [()] * len(HalfForm._fields)
    for name, column in zip(HalfForm._fields, columns, strict=True):
        setattr(msg, f"{of}_{name}", array("H", column) if name == "cut" else list(column))


def _form_arrays(msg: DeviceProfileMsg, of: str) -> list[Any]:
    return [getattr(msg, f"{of}_{name}") for name in HalfForm._fields]
