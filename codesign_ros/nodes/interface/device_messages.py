"""A device's announcement to its message and back."""

from __future__ import annotations

import math
from array import array

from builtin_interfaces.msg import Time
from rclpy.exceptions import InvalidTopicNameException
from rclpy.validate_full_topic_name import validate_full_topic_name

from codesign_ros.cost.half_times import StageProfile
from codesign_ros.msg import DeviceProfile as DeviceProfileMsg
from codesign_ros.nodes.interface.messages import copied
from codesign_ros.runtime.messages import Device, Role, StageMedians
from codesign_ros.types import CodesignError, Merge, Structure

_DEVICE_FIELDS = (
    "robot", "node", "state", "model_id", "device", "epoch", "peak_flops", "memory_bandwidth",
    "link_bps", "link_delay_s", "frame_bytes", "memory_bytes", "dla_cores", "power_mode",
    "throttled",
)  # fmt: skip
# Those of Running; the message's have running_ before them.
_RUNNING_FIELDS = ("epoch", "frames", "head_s", "link_s", "tail_s")


def device_to_msg(device: Device, stamp: Time) -> DeviceProfileMsg:
    """Device to message."""
    msg = DeviceProfileMsg(
        stamp=stamp,
        role=int(device.role),
        backends=list(device.backends),
        precisions=list(device.precisions),
        **copied(device, _DEVICE_FIELDS),
        **{
            f"running_{name}": value
            for name, value in copied(device.running, _RUNNING_FIELDS).items()
        },
    )
    if device.engines is not None:
        msg.builds_ahead = True
        msg.engine_cut = array("H", [cut for cut, *_ in device.engines])
        msg.engine_structure = [structure.value for _, structure, *_ in device.engines]
        msg.engine_merge = [merge.value for *_, merge, _ in device.engines]
        msg.engine_precision = [precision for *_, precision in device.engines]
        msg.engine_built = list(device.engines.values())
    if device.profile is not None:
        profile = device.profile
        msg.stage_cut = array("H", [cut for cut, _ in profile.stage_s])
        msg.stage_structure = [structure.value for _, structure in profile.stage_s]
        msg.stage_s = array("f", profile.stage_s.values())
        msg.stage_measured = [(*k, "fp32") not in profile.estimated for k in profile.stage_s]
        msg.precision_cut = array("H", [cut for cut, *_ in profile.precision_s])
        msg.precision_structure = [structure.value for _, structure, _ in profile.precision_s]
        msg.precision_name = [name for *_, name in profile.precision_s]
        msg.precision_s = array("f", profile.precision_s.values())
        msg.precision_measured = [half not in profile.estimated for half in profile.precision_s]
        msg.codec_cut = array("H", [cut for cut, _ in profile.codec_s])
        msg.codec_name = [codec for _, codec in profile.codec_s]
        msg.codec_s = array("f", profile.codec_s.values())
        msg.codec_bytes = array("I", [round(profile.codec_bytes[key]) for key in profile.codec_s])
    return msg


def device_from_msg(msg: DeviceProfileMsg) -> Device:
    """Message to device.

    Raises:
        CodesignError: the node's name is none, role, a structure or a merge is not known, arrays
            that belong together differ in length, or a time, rate or size is negative or not
            finite.
    """
    try:
        validate_full_topic_name(msg.node)
    except InvalidTopicNameException:
        raise CodesignError(f"profile of {msg.node!r}: that is no full name of a node") from None
    stages = (msg.stage_cut, msg.stage_structure, msg.stage_s, msg.stage_measured)
    codecs = (msg.codec_cut, msg.codec_name, msg.codec_s, msg.codec_bytes)
    precisions = (
        msg.precision_cut, msg.precision_structure, msg.precision_name, msg.precision_s,
        msg.precision_measured,
    )  # fmt: skip
    engines = (
        msg.engine_cut, msg.engine_structure, msg.engine_merge, msg.engine_precision,
        msg.engine_built,
    )  # fmt: skip
    if any(len({*map(len, arrays)}) > 1 for arrays in (stages, codecs, precisions, engines)):
        raise CodesignError(
            f"profile of {msg.node!r}: arrays that belong together differ in length"
        )
    running = StageMedians(**{name: getattr(msg, f"running_{name}") for name in _RUNNING_FIELDS})
    numbers = (
        msg.peak_flops, msg.memory_bandwidth, msg.link_bps, msg.link_delay_s, msg.frame_bytes,
        running.head_s, running.link_s, running.tail_s,
    )  # fmt: skip
    for number in (*numbers, *msg.stage_s, *msg.codec_s, *msg.precision_s):
        if not 0 <= number < math.inf:
            raise CodesignError(f"profile of {msg.node!r}: {number} is no time, rate or size")
    try:
        keys = [(c, Structure(s)) for c, s in zip(msg.stage_cut, msg.stage_structure, strict=True)]
        others = [(c, Structure(s), name) for c, s, name in zip(*precisions[:3], strict=True)]
        forms = [
            (cut, Structure(structure), Merge(merge), precision)
            for cut, structure, merge, precision in zip(*engines[:4], strict=True)
        ]
        role = Role(msg.role)
    except ValueError as error:
        raise CodesignError(f"profile of {msg.node!r}: {error}") from None
    codec_keys = list(zip(msg.codec_cut, msg.codec_name, strict=True))
    halves = [*((*key, "fp32") for key in keys), *others]
    measured = [*msg.stage_measured, *msg.precision_measured]
    profile = StageProfile(
        stage_s=dict(zip(keys, msg.stage_s, strict=True)),
        estimated=frozenset(
            half for half, timed in zip(halves, measured, strict=True) if not timed
        ),
        codec_s=dict(zip(codec_keys, msg.codec_s, strict=True)),
        codec_bytes={k: float(n) for k, n in zip(codec_keys, msg.codec_bytes, strict=True)},
        precision_s=dict(zip(others, msg.precision_s, strict=True)),
    )
    return Device(
        role=role,
        backends=tuple(msg.backends),
        precisions=tuple(msg.precisions),
        engines=dict(zip(forms, msg.engine_built, strict=True)) if msg.builds_ahead else None,
        profile=profile if keys else None,
        running=running,
        **copied(msg, _DEVICE_FIELDS),
    )
