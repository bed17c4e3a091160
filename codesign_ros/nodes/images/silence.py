"""Why no image comes, as far as the ROS graph tells."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSCompatibility, QoSProfile, ReliabilityPolicy, qos_check_compatible
from sensor_msgs.msg import CompressedImage, Image

from codesign_ros.nodes.images.topics import COMPRESSED, ImageTopic, type_name
from codesign_ros.types.errors import one_line

_TYPES = {type_name(Image): "raw", type_name(CompressedImage): "compressed"}
# What image_transport puts behind the name of depth in its compressed form; it is no picture.
_DEPTH = "/compressedDepth"
# What rmw calls a node of which DDS has not told yet whose topic it is.
_UNKNOWN = "_NODE_NAME_UNKNOWN_"
# Topics that a line has room for.
_MOST_NAMED = 3


def publishers_of(node: Node, topic: ImageTopic) -> list[Any]:
    """Return the publishers of a topic that send its type."""
    wanted = type_name(topic.kind)
    return [each for each in _publishers(node, topic.name) if each.topic_type == wanted]


def why_silent(
    node: Node,
    topics: Sequence[ImageTopic],
    waited_for: Collection[ImageTopic],
    profile_for: Callable[[ImageTopic], QoSProfile],
    heard: bool,
    lost: bool,
) -> str:
    """Say in one line why no image comes, and what to change.

    Args:
        node: whoever waits for images.
        topics: where it takes them; several where it takes the first on which images come.
        waited_for: those of them on which none come.
        profile_for: quality of service with which it listens to a topic.
        heard: whether images came before.
        lost: whether DDS has told since then that it lost some.
    """
    senders = [(topic, each) for topic in waited_for for each in publishers_of(node, topic)]
    for topic, sender in senders:
        fits, why = qos_check_compatible(sender.qos_profile, profile_for(topic))
        if fits == QoSCompatibility.ERROR:
            return (
                f"{_name(sender)} publishes {_full(node, topic)}, with a quality of service that "
                f"does not fit ({one_line(why)}): image_reliability best_effort and durability "
                "volatile fit any"
            )
    if senders:
        topic, sender = senders[0]
        first = dict(reversed(senders))
        said = " and ".join(
            f"{_name(first[each])} publishes {_full(node, each)}"
            for each in waited_for
            if each in first
        )
        remedy = against_loss([sender], profile_for(topic))
        if lost:
            return f"{said}, but DDS loses its images on their way: {remedy}"
        if heard:
            return f"{said}, and has stopped sending"
        name = _full(node, topic)
        text = f"{said}, but nothing arrives: does it send (ros2 topic hz {name})? If so, {remedy}"
        other = _other_form(_elsewhere(node, topics), name)
        return f"{text}; if not, {other}" if other else text
    return _nobody(node, topics)


def against_loss(senders: Sequence[Any], profile: QoSProfile) -> str:
    """What to change where images get lost on their way to a listener."""
    small = "best effort, images above 512 kB do not fit Fast DDS's shared memory"
    reliable = (each.qos_profile.reliability is ReliabilityPolicy.RELIABLE for each in senders)
    if not all(reliable):
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
    elsewhere = _elsewhere(node, topics)
    names = list(dict.fromkeys(_full(node, topic) for topic in topics))
    text = f"nobody publishes {' or '.join(names)}"
    other = _other_form(elsewhere, names[0])
    if other:
        return f"{text}, but {other}"
    if elsewhere:
        near = sorted(elsewhere, key=lambda name: -_likeness(name, names[0]))[:_MOST_NAMED]
        return f"{text}; images are on {', '.join(near)}: name one (image:=TOPIC)"
    return f"{text}, nor images anywhere else: does the camera's driver run, in this ROS_DOMAIN_ID?"


def _elsewhere(node: Node, topics: Sequence[ImageTopic]) -> dict[str, str]:
    """Transport by name of the topics on which others publish images, but for these."""
    names = [_full(node, topic) for topic in topics]
    own = node.get_fully_qualified_name()  # which publishes pictures too
    return {
        name: _TYPES[kind]
        for name, types in node.get_topic_names_and_types()
        for kind in types
        if kind in _TYPES
        and name not in names
        and not name.endswith(_DEPTH)
        and any(_name(sender) != own for sender in _publishers(node, name))
    }


def _other_form(elsewhere: Mapping[str, str], name: str) -> str:
    """Say that the images of a topic are there in the other form; empty where they are not."""
    for form, other in (("raw", name.removesuffix(COMPRESSED)), ("compressed", name + COMPRESSED)):
        if elsewhere.get(other) == form:
            return f"there is {other}: set image_transport to {form}"
    return ""


def _likeness(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one, other).ratio()


def _publishers(node: Node, name: str) -> list[Any]:
    return list(node.get_publishers_info_by_topic(node.resolve_topic_name(name)))


def _full(node: Node, topic: ImageTopic) -> str:
    return node.resolve_topic_name(topic.name)


def _name(info: Any) -> str:
    if info.node_name == _UNKNOWN:
        return "somebody"
    return f"{info.node_namespace.rstrip('/')}/{info.node_name}"
