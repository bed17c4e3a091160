"""Why no image comes, as far as the ROS graph tells."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSCompatibility, QoSProfile, ReliabilityPolicy, qos_check_compatible
from sensor_msgs.msg import CompressedImage, Image

from codesign_ros.nodes.images.topics import ImageTopic, type_name
from codesign_ros.types.errors import one_line

_TYPES = {type_name(Image): "raw", type_name(CompressedImage): "compressed"}
# Topics that a line has room for.
_MOST_NAMED = 3


def publishers_of(node: Node, topic: ImageTopic) -> list[Any]:
    """Return the publishers of a topic that send its type."""
    wanted = type_name(topic.kind)
    return [each for each in _publishers(node, topic.name) if each.topic_type == wanted]


def why_silent(
    node: Node, topics: Sequence[ImageTopic], profile: QoSProfile, heard: bool, lost: bool
) -> str:
    """Say in one line why no image comes, and what to change.

    Args:
        node: whoever waits for images.
        topics: where it takes them; several where it takes the first that somebody publishes.
        profile: quality of service with which it listens.
        heard: whether images came before.
        lost: whether DDS has told since then that it lost some.
    """
    senders = [(topic, each) for topic in topics for each in publishers_of(node, topic)]
    for topic, sender in senders:
        fits, why = qos_check_compatible(sender.qos_profile, profile)
        if fits == QoSCompatibility.ERROR:
            return (
                f"{_name(sender)} publishes {_full(node, topic)}, with a quality of service that "
                f"does not fit ({one_line(why)}): image_reliability best_effort and durability "
                "volatile fit any"
            )
    if senders:
        topic, sender = senders[0]
        name = _full(node, topic)
        said, remedy = f"{_name(sender)} publishes {name}", _against_loss(sender, profile)
        if lost:
            return f"{said}, but DDS loses its images on their way: {remedy}"
        if heard:
            return f"{said}, and has stopped sending"
        return f"{said}, but nothing arrives: does it send (ros2 topic hz {name})? If so, {remedy}"
    return _nobody(node, topics)


def _against_loss(sender: Any, profile: QoSProfile) -> str:
    """What to change where images get lost between a sender and a listener."""
    small = "best effort, images above 512 kB do not fit Fast DDS's shared memory"
    if sender.qos_profile.reliability is not ReliabilityPolicy.RELIABLE:
        remedy = f"{small}: make its publisher reliable, or start it with config/large_images.xml"
    elif profile.reliability is not ReliabilityPolicy.RELIABLE:
        remedy = f"{small}: set image_reliability to auto"
    else:
        remedy = "make its publisher's queue deeper, or start it with config/large_images.xml"
    return f"{remedy}; from another machine, see codesign doctor (firewall, net.core.rmem_default)"


def _nobody(node: Node, topics: Sequence[ImageTopic]) -> str:
    """Say that nobody publishes, and who publishes images elsewhere or in another form."""
    for topic in topics:
        for sender in _publishers(node, topic.name):
            remedy = "name the topic of images (image:=TOPIC)"
            if sender.topic_type in _TYPES:
                remedy = f"set image_transport to {_TYPES[sender.topic_type]}"
            return (
                f"{_name(sender)} publishes {_full(node, topic)} as {sender.topic_type}, not as "
                f"{type_name(topic.kind)}: {remedy}"
            )
    names = list(dict.fromkeys(_full(node, topic) for topic in topics))
    text = f"nobody publishes {' or '.join(names)}"
    own = node.get_fully_qualified_name()  # which publishes pictures too
    elsewhere = {
        name: _TYPES[kind]
        for name, types in node.get_topic_names_and_types()
        for kind in types
        if kind in _TYPES
        and name not in names
        and any(_name(sender) != own for sender in _publishers(node, name))
    }
    for form, other in (("raw", names[0].removesuffix("/compressed")),
                        ("compressed", f"{names[0]}/compressed")):  # fmt: skip
        if elsewhere.get(other) == form:
            return f"{text}, but there is {other}: set image_transport to {form}"
    if elsewhere:
        near = sorted(elsewhere, key=lambda name: -_likeness(name, names[0]))[:_MOST_NAMED]
        return f"{text}; images are on {', '.join(near)}: name one (image:=TOPIC)"
    return f"{text}, nor images anywhere else: does the camera's driver run, in this ROS_DOMAIN_ID?"


def _likeness(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one, other).ratio()


def _publishers(node: Node, name: str) -> list[Any]:
    return list(node.get_publishers_info_by_topic(node.resolve_topic_name(name)))


def _full(node: Node, topic: ImageTopic) -> str:
    return node.resolve_topic_name(topic.name)


def _name(info: Any) -> str:
    return f"{info.node_namespace.rstrip('/')}/{info.node_name}"
