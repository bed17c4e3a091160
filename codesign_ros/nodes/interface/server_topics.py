"""Where a head's embeddings go: each of its robot's tails listens in a namespace of its own."""

from __future__ import annotations

import threading
import time

from rclpy.publisher import Publisher

from codesign_ros.msg import Embedding as EmbeddingMsg
from codesign_ros.nodes.interface import qos
from codesign_ros.nodes.interface.messages import embedding_to_msg
from codesign_ros.nodes.wiring import WiredNode
from codesign_ros.runtime.messages import Embedding
from codesign_ros.types.errors import CodesignError

# How long DDS may take to bring a new topic's two ends together [s].
_DISCOVERY_S = 5.0
_POLL_S = 0.02


class ServerTopics:
    """A publisher of embeddings for each tail that a plan has named.

    An embedding goes to one tail and crosses the link once, however many tails there are.

    Args:
        node: the head; the topic in its own namespace is made at once.
    """

    def __init__(self, node: WiredNode) -> None:
        self._node = node
        self._own = node.get_namespace()
        self._first = node.advertise(EmbeddingMsg, "embedding", qos.embedding())
        self._publishers: dict[str, Publisher] = {}

    def reach(self, tail: str) -> None:
        """See that a tail listens; called before anything is sent to it, may take seconds.

        Args:
            tail: its fully qualified name; empty = none, or that in the head's own namespace.

        Raises:
            CodesignError: it is no tail of this robot, or does not listen.
        """
        namespace = tail.rpartition("/")[0] or self._own
        if namespace == self._own:
            return
        if not namespace.startswith(f"{self._own.rstrip('/')}/"):
            raise CodesignError(f"{tail} is no tail of {self._own}: it lies in no namespace of it")
        topic = f"{namespace}/embedding"
        if namespace not in self._publishers:
            publisher = self._node.advertise(EmbeddingMsg, topic, qos.embedding())
            self._publishers[namespace] = publisher
        give_up_s = time.monotonic() + _DISCOVERY_S
        while self.listeners(tail) == 0:
            if time.monotonic() > give_up_s:
                raise CodesignError(f"{tail} does not listen to {topic}")
            threading.Event().wait(_POLL_S)

    def send(self, embedding: Embedding) -> None:
        """Send an embedding to the tail that it is for."""
        self._publisher(embedding.tail).publish(embedding_to_msg(embedding))

    def listeners(self, tail: str) -> int:
        """How many listen where a tail's embeddings are sent."""
        return int(self._publisher(tail).get_subscription_count())

    def forget(self) -> None:
        """Note that all publishers but the first are gone."""
        self._publishers.clear()

    def _publisher(self, tail: str) -> Publisher:
        return self._publishers.get(tail.rpartition("/")[0], self._first)
