"""Messages of a bag as objects: only types that are asked for are ever looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from codesign_ros.data.storage.channel import CDR, ROS1, Channel
from codesign_ros.data.storage.vision_truth import vision_types
from codesign_ros.resources import resource_path

IMAGE_TYPE = "sensor_msgs/msg/Image"
COMPRESSED_TYPE = "sensor_msgs/msg/CompressedImage"
TRUTH_TYPE = "codesign_ros/msg/GroundTruth"
# Older bags have ground truth in the type of answers, as it was then.
OLD_TRUTH_TYPE = "codesign_ros/msg/InferenceResult"

_OLD_TRUTH_FIELDS = (
    "std_msgs/Header header, uint64 sequence, uint32 epoch, uint8 status, string reason, "
    "string served_by, string label, float32 score, string[] class_names, "
    "float32[] class_scores, Detection[] detections, uint32 payload_bytes, float32 response_s, "
    "float32 head_s, float32 encode_s, float32 link_s, float32 queue_s, float32 decode_s, "
    "float32 tail_s"
).replace(", ", "\n")
_IDL_BREAK = "=" * 80 + "\n"


@lru_cache(maxsize=1)
def own_types() -> Typestore:
    """Messages of ROS 2 and of this package as they are now, for bags that are written."""
    store = get_typestore(Stores.ROS2_HUMBLE)
    store.register(_own_types())
    return store


@lru_cache(maxsize=1)
def typestore() -> Typestore:
    """Messages of ROS 2, of this package, and boxes of vision_msgs, for bags that define none.

    ``InferenceResult`` is what it was in older bags: of newer ones nothing in that type is read.
    """
    store = get_typestore(Stores.ROS2_HUMBLE)
    own = _own_types()
    own.update(get_types_from_msg(_OLD_TRUTH_FIELDS, OLD_TRUTH_TYPE))
    own.update(vision_types())
    store.register(own)
    return store


def _own_types() -> dict[str, Any]:
    own: dict[str, Any] = {}
    for path in sorted(resource_path("msg").glob("*.msg")):
        own.update(get_types_from_msg(path.read_text(), f"codesign_ros/msg/{path.stem}"))
    return own


def message_type(channel: Channel) -> str:
    """Return a channel's type as ROS 2 writes it, where it is of ROS at all."""
    package, slash, name = channel.msgtype.partition("/")
    return f"{package}/msg/{name}" if slash and "/" not in name else channel.msgtype


def decoder_of(channel: Channel) -> Callable[[bytes], Any] | None:
    """Return what makes an object of a message's bytes; None where they are in no known form.

    The bag's own definition counts; where it has none or one that cannot be understood, it is the
    type as we know it. Pictures are the same in all of ROS 2.
    """
    kind = message_type(channel)
    if channel.encoding == CDR:
        store = typestore() if kind in (IMAGE_TYPE, COMPRESSED_TYPE) else None
        store = store or _defined(channel) or typestore()
        return lambda data: store.deserialize_cdr(data, kind)
    if channel.encoding == ROS1:
        ros1 = _defined(channel) or get_typestore(Stores.ROS1_NOETIC)
        return lambda data: ros1.deserialize_ros1(data, kind)
    return None


def _defined(channel: Channel) -> Typestore | None:
    """Types as the bag defines them."""
    store = get_typestore(Stores.EMPTY)
    try:
        types = _parsed(channel)
        if message_type(channel) not in types:
            return None
        store.register(dict(types))
    except Exception:  # a parser of somebody else's text fails in many ways
        return None
    return store


def _parsed(channel: Channel) -> Mapping[str, Any]:
    text = channel.definition
    if channel.definition_format in ("ros2msg", "ros1msg"):
        return get_types_from_msg(text, message_type(channel))
    if channel.definition_format not in ("ros2idl", "omgidl"):
        return {}
    if not text.startswith(f"{_IDL_BREAK}IDL: "):
        return get_types_from_idl(text)
    types: dict[str, Any] = {}
    for part in text.split(_IDL_BREAK)[1:]:
        types.update(get_types_from_idl(part.partition("\n")[2]))
    return types
