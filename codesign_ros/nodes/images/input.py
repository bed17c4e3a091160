"""Where a head takes its images, and whether they come."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from rclpy.qos import QoSProfile
from rclpy.subscription import Subscription
from sensor_msgs.msg import CompressedImage, Image

from codesign_ros.nodes.images.beside import Beside
from codesign_ros.nodes.images.silence import against_loss, publishers_of, why_silent
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
# Loss is said where more than this share of the images of so long are lost [s], and at least so
# many; beyond so many images, of so many.
_LOSS_SHARE, _RECENT_S, _FEW, _MOST_RECENT = 0.1, 5.0, 3, 1024
# After so long, and so many images of which none could be read, another topic is taken [s].
_UNREADABLE_S, _UNREADABLE = 3.0, 5
# After so long without any image from whoever publishes the topic, others are listened to as well;
# one is taken where images have come for so long. Who sends on both begins with both at once [s].
_ABSENT_S, _AHEAD_S = 3.0, 1.0


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
        # Who publishes each topic, of those that are looked for.
        self._senders: dict[ImageTopic, set[bytes]] = {}
        # Topics that others go before, and why, as long as the same publish them.
        self._passed_over: dict[ImageTopic, str] = {}
        self._beside = Beside(node, adapts=reliability == AUTO)
        # When the last image could be read, and what came since.
        self._read_s, self._unread = time.monotonic(), 0
        self._subscription: Subscription | None = None
        self._topic: ImageTopic | None = None
        # What was found by the last look: who has just come may be about to publish more.
        self._seen: tuple[ImageTopic, QoSProfile] | None = None
        self._since_s = self._listens_s = time.monotonic()
        # Whether images came from whoever publishes the topic at hand.
        self._heard = False
        self._periods_s: deque[float] = deque((0.0, 0.0), maxlen=2)
        # Whether DDS has lost images since the last that came.
        self._loses = False
        # When images came of late, or were lost, and how many were.
        self._recent: deque[tuple[float, int]] = deque(maxlen=_MOST_RECENT)
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
        sends = self._heard or self._loses
        waited_for = [
            each
            for each in self._candidates
            if each == self._topic or not (sends or each in self._passed_over)
        ]
        why = why_silent(
            self._node, self._candidates, waited_for, self._profile_for, self._heard, self._loses
        )
        others = (what for at, what in self._passed_over.items() if at != self._topic)
        return "; ".join((f"no frame for {silent_s:.0f} s: {why}", *others))

    def loss(self) -> str:
        """How many of the last seconds' images were lost, and what helps; empty where few were."""
        since_s = time.monotonic() - _RECENT_S
        recent = [lost for at_s, lost in tuple(self._recent) if at_s > since_s]
        lost, topic = sum(recent), self._topic
        count = recent.count(0) + lost
        if topic is None or lost < _FEW or lost <= _LOSS_SHARE * count:
            return ""
        remedy = against_loss(publishers_of(self._node, topic), self._profile)
        return f"{lost} of the last {count} frames got lost before they reached the head: {remedy}"

    def _look(self) -> None:
        """Listen to the best topic that somebody publishes, unless the one at hand still is.

        And has images that can be read, where another one might.
        """
        published = self._published()
        self._note_unreadable()
        self._note_absent(published)
        at_hand = [each for each in published if each == self._topic]
        choice = [each for each in (*at_hand, *published) if each not in self._passed_over]
        topic = next(iter((*choice, *at_hand, *published)), None)
        found = None if topic is None else (topic, self._profile_for(topic))
        settled, self._seen = found == self._seen, found
        if found is None or not settled or found == (self._topic, self._profile):
            return
        self._beside.stop()
        if self._subscription is not None:
            self._node.withdraw([self._subscription])
        why = self._passed_over.get(self._topic) if self._topic else None
        before = self.topic
        self._subscribe(*found)
        if why and self.topic != before:
            self._node.get_logger().warning(f"{why}: those on {self.topic} are taken")

    def _published(self) -> list[ImageTopic]:
        """Topics that somebody publishes; what was noted of one ends where somebody else does."""
        before = self._senders
        self._senders = {
            each: {bytes(sender.endpoint_gid) for sender in publishers_of(self._node, each)}
            for each in self._candidates
        }
        same = {
            each for each, ids in self._senders.items() if ids and ids <= before.get(each, set())
        }
        self._passed_over = {at: why for at, why in self._passed_over.items() if at in same}
        if self._topic not in same:
            self._heard, self._listens_s = False, time.monotonic()
        return [each for each, ids in self._senders.items() if ids]

    def _note_unreadable(self) -> None:
        """Note whether the topic at hand is one whose images cannot be read."""
        why = self._why_unreadable()
        if not why:
            self._read_s, self._unread = time.monotonic(), 0
            return
        lasts = self._unread >= _UNREADABLE and time.monotonic() - self._read_s > _UNREADABLE_S
        if self._topic is not None and lasts:
            self._passed_over[self._topic] = f"images on {self.topic} cannot be read ({why})"

    def _note_absent(self, published: Sequence[ImageTopic]) -> None:
        """Note whether images come on another topic, and none came on the one at hand."""
        absent_s = time.monotonic() - self._listens_s
        sends = self._heard or self._loses
        # A topic has one type in a process.
        others = [
            each
            for each in published
            if self._topic is not None
            and each.name != self._topic.name
            and each not in self._passed_over
        ]
        if sends or absent_s < _ABSENT_S or not others:
            self._beside.stop()
            return
        self._beside.listen(others[0], self._profile_for(others[0]))
        if self._topic is not None and self._beside.sends_for_s > _AHEAD_S:
            self._passed_over[self._topic] = f"no images come on {self.topic}"

    def _subscribe(self, topic: ImageTopic, profile: QoSProfile) -> None:
        self._subscription = self._node.listen(
            topic.kind,
            topic.name,
            self._arrived,
            profile,
            on_missed=self._lose,
            adapts=self._reliability == AUTO,
            lasts=True,
        )
        self._topic, self._profile = topic, profile
        self._heard = self._loses = False
        self._listens_s = self._read_s = time.monotonic()
        self._unread = 0

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
        self._recent.append((now_s, 0))
        self._take(msg)

    def _lose(self, count: int) -> None:
        now_s = time.monotonic()
        # What is told as an image comes was lost before it.
        if now_s - self._since_s > _LOSS_TOLD_S:
            self._loses = True
        self._recent.append((now_s, count))
        self._on_missed(count)
