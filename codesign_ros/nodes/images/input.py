"""Where a head takes its images, and whether they come."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from rclpy.qos import QoSProfile
from rclpy.subscription import Subscription
from sensor_msgs.msg import CompressedImage, Image

from codesign_ros.nodes.images.silence import publishers_of, why_silent
from codesign_ros.nodes.images.topics import ImageTopic, found_topics, image_topic
from codesign_ros.nodes.interface import qos
from codesign_ros.nodes.wiring import WiredNode

AUTO = "auto"
"""Transport or reliability: whichever somebody publishes."""

# How often somebody who publishes is looked for [s].
_LOOK_S = 0.25
# Silence of so long is said; with the period of diagnostics, within 3 s. A camera that is slow has
# longer: so many times its period, the shorter of its last two, for one may be a silence [s].
_SILENCE_S, _PERIODS = 1.9, 2.5
# How long after an image DDS may tell what it lost before that one [s].
_LOSS_TOLD_S = 0.25
# After so long, and so many images of which none could be read, another topic is taken [s].
_UNREADABLE_S, _UNREADABLE = 3.0, 5


class ImageInput:
    """Subscribes a node to its images.

    Args:
        node: the node.
        transport: ``compressed``, ``raw`` or ``AUTO``.
        reliability: ``reliable`` (what is lost on its way is asked for again), ``best_effort``, or
            ``AUTO``: reliable where every publisher is. Images of megabytes hardly arrive else.
        take: called with each message.
        on_missed: called when DDS has lost images, with how many.
        unreadable: says why the newest of them could not be read, one line; empty where it could.
    """

    def __init__(
        self,
        node: WiredNode,
        transport: str,
        reliability: str,
        take: Callable[[Any], None],
        on_missed: Callable[[int], None],
        unreadable: Callable[[], str],
    ) -> None:
        self._node = node
        self._reliability = reliability
        self._profile = qos.image(reliability == "reliable", 1)
        self._take = take
        self._on_missed = on_missed
        self._why_unreadable = unreadable
        # Topics whose images cannot be read, and why, as long as somebody publishes them.
        self._unreadable: dict[ImageTopic, str] = {}
        # When the last image could be read, and what came since.
        self._read_s, self._unread = time.monotonic(), 0
        self._subscription: Subscription | None = None
        self._topic: ImageTopic | None = None
        # What was found by the last look: who has just come may be about to publish more.
        self._seen: tuple[ImageTopic, QoSProfile] | None = None
        self._since_s = time.monotonic()
        self._heard = False
        self._periods_s: deque[float] = deque((0.0, 0.0), maxlen=2)
        # Whether DDS has lost images since the last that came.
        self._loses = False
        if transport == AUTO:
            self._candidates = found_topics(node)
        else:
            self._candidates = (image_topic(node, transport),)
        if AUTO in (transport, reliability):
            node.every(_LOOK_S, self._look)
        else:
            self._subscribe(self._candidates[0], self._profile_for(self._candidates[0]))

    @property
    def topic(self) -> str:
        """Full name of the topic that is listened to; empty while none was found."""
        return "" if self._topic is None else self._node.resolve_topic_name(self._topic.name)

    @property
    def is_reliable(self) -> bool:
        """Whether what is lost on its way is asked for again."""
        return self._profile.reliability is qos.RELIABLE

    def expect(self) -> None:
        """Start to count silence anew."""
        self._since_s = time.monotonic()

    def silence(self) -> str:
        """Why nothing comes; empty as long as images come, or may be about to."""
        silent_s = time.monotonic() - self._since_s
        if silent_s < max(_SILENCE_S, _PERIODS * min(self._periods_s)):
            return ""
        topics = self._candidates if self._topic is None else (self._topic,)
        why = why_silent(self._node, topics, self._profile, self._heard, self._loses)
        return f"no frame for {silent_s:.0f} s: {why}"

    def _look(self) -> None:
        """Listen to the best topic that somebody publishes, unless the one at hand still is.

        And can be read, where another one might.
        """
        published = [each for each in self._candidates if publishers_of(self._node, each)]
        self._note_unreadable(published)
        at_hand = [each for each in published if each == self._topic]
        choice = [each for each in (*at_hand, *published) if each not in self._unreadable]
        topic = next(iter((*choice, *at_hand, *published)), None)
        found = None if topic is None else (topic, self._profile_for(topic))
        settled, self._seen = found == self._seen, found
        if found is None or not settled or found == (self._topic, self._profile):
            return
        if self._subscription is not None:
            self._node.withdraw([self._subscription])
        before, why = self.topic, self._unreadable.get(self._topic) if self._topic else None
        self._subscribe(*found)
        if why and self.topic != before:
            self._node.get_logger().warning(
                f"images on {before} cannot be read ({why}): those on {self.topic} are taken"
            )

    def _note_unreadable(self, published: Sequence[ImageTopic]) -> None:
        """Note whether the topic at hand is one whose images cannot be read."""
        # Whoever publishes it after a while may send others.
        self._unreadable = {at: why for at, why in self._unreadable.items() if at in published}
        why = self._why_unreadable()
        if not why:
            self._read_s, self._unread = time.monotonic(), 0
            return
        lasts = self._unread >= _UNREADABLE and time.monotonic() - self._read_s > _UNREADABLE_S
        if self._topic is not None and lasts:
            self._unreadable[self._topic] = why

    def _subscribe(self, topic: ImageTopic, profile: QoSProfile) -> None:
        self._subscription = self._node.listen(
            topic.kind,
            topic.name,
            self._arrived,
            profile,
            on_missed=self._lose,
            adapts=self._reliability == AUTO,
        )
        self._topic, self._profile = topic, profile
        self._read_s, self._unread = time.monotonic(), 0

    def _profile_for(self, topic: ImageTopic) -> QoSProfile:
        reliable = self._reliability == "reliable"
        if self._reliability == AUTO:
            senders = publishers_of(self._node, topic)
            reliable = all(each.qos_profile.reliability is qos.RELIABLE for each in senders)
        return qos.image(reliable, qos.IMAGE_DEPTHS[topic.transport])

    def _arrived(self, msg: CompressedImage | Image) -> None:
        now_s = time.monotonic()
        if self._heard:
            self._periods_s.append(now_s - self._since_s)
        self._since_s, self._heard, self._loses = now_s, True, False
        self._unread += 1
        self._take(msg)

    def _lose(self, count: int) -> None:
        # What is told as an image comes was lost before it.
        if time.monotonic() - self._since_s > _LOSS_TOLD_S:
            self._loses = True
        self._on_missed(count)
