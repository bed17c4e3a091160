"""Names and types of image topics, as image_transport has them."""

from __future__ import annotations

from typing import Any, NamedTuple

from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image

BASE = "image_raw"
IMAGE_TOPICS = {"compressed": f"{BASE}/compressed", "raw": BASE}
"""Topic by transport, before any remapping."""

COMPRESSED = "/compressed"


class ImageTopic(NamedTuple):
    """A topic of images and the type of its messages."""

    name: str
    kind: type[Image] | type[CompressedImage]
    transport: str


def image_topic(node: Node, transport: str) -> ImageTopic:
    """Where a node sends or takes its images: remapping ``image_raw`` moves every transport.

    Args:
        node: its remappings count.
        transport: a key of ``IMAGE_TOPICS``.

    Returns:
        The topic, whose name is relative where ``image_raw`` is not remapped, so that
        ``image_raw/compressed`` may be.
    """
    kind = CompressedImage if transport == "compressed" else Image
    base = node.resolve_topic_name(BASE)
    if base == node.resolve_topic_name(BASE, only_expand=True):
        return ImageTopic(IMAGE_TOPICS[transport], kind, transport)
    base = base.removesuffix(COMPRESSED)  # whoever names that one means it
    return ImageTopic(base + (COMPRESSED if transport == "compressed" else ""), kind, transport)


def compressed_name(node: Node, base: str) -> str:
    """Name of a topic of pictures in its compressed form; it moves where the other is remapped."""
    name = node.resolve_topic_name(base)
    is_moved = name != node.resolve_topic_name(base, only_expand=True)
    return (name if is_moved else base) + COMPRESSED


def found_topics(node: Node) -> tuple[ImageTopic, ...]:
    """Where a node looks for images when it may take any transport, best first.

    Compressed ones come first: they are small, and JPEGs may be sent on as they are. Some drivers
    publish those under the very name that others give to raw ones.
    """
    compressed, raw = image_topic(node, "compressed"), image_topic(node, "raw")
    return compressed, raw, ImageTopic(raw.name, CompressedImage, "compressed")


def type_name(kind: Any) -> str:
    """A message's type as the ROS graph has it, e.g. ``sensor_msgs/msg/Image``."""
    package, _, _ = kind.__module__.partition(".")
    return f"{package}/msg/{kind.__name__}"
