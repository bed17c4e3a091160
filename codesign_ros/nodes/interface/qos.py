"""Quality of service of every topic; the parameters ``qos_overrides.*`` of a node change it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rcl_interfaces.msg import SetParametersResult
from rclpy.qos import (
    DurabilityPolicy,
    QoSPolicyKind,
    QoSProfile,
    ReliabilityPolicy,
)
from rclpy.qos_overriding_options import QoSOverridingOptions

from codesign_ros.types.errors import CodesignError

try:
    from rclpy.event_handler import SubscriptionEventCallbacks  # Jazzy and later
    from rclpy.event_handler import UnsupportedEventTypeError as UnsupportedEventTypeError
except ImportError:
    from rclpy.qos_event import SubscriptionEventCallbacks  # Humble
    from rclpy.qos_event import UnsupportedEventTypeError as UnsupportedEventTypeError

RELIABLE, BEST_EFFORT = ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT
TRANSIENT_LOCAL = DurabilityPolicy.TRANSIENT_LOCAL


# Frames that a reader keeps until the head takes them, by ``image_transport``. Which frame is
# dropped is for the head to decide, and to say; so there is room for what comes while its thread is
# busy: a second of a camera of 200 Hz and a burst, and of raw frames, which are large, half a
# second at 60 Hz (of 4K 0.8 GB, if that ever happens).
IMAGE_DEPTHS = {"compressed": 256, "raw": 32}


def image(reliable: bool, depth: int) -> QoSProfile:
    """Frames: best effort as for any sensor, reliable where a recorded bag must arrive whole."""
    return QoSProfile(depth=depth, reliability=RELIABLE if reliable else BEST_EFFORT)


def embedding() -> QoSProfile:
    """Embeddings: reliable, and few: an old one is worth less than the next."""
    return QoSProfile(depth=4, reliability=RELIABLE)


def result() -> QoSProfile:
    """Results, small: reliable, and enough of them that a slow listener misses none."""
    return QoSProfile(depth=32, reliability=RELIABLE)


def picture() -> QoSProfile:
    """Pictures for people: reliable, for some viewers take nothing else; only the newest counts."""
    return QoSProfile(depth=1, reliability=RELIABLE)


def heartbeat(depth: int = 16) -> QoSProfile:
    """Signs of life: the next one comes soon, so none is repeated.

    Args:
        depth: how many are kept; a reader of a whole fleet needs more.
    """
    return QoSProfile(depth=depth, reliability=BEST_EFFORT)


def diagnostics() -> QoSProfile:
    """What the tools of ROS for /diagnostics expect."""
    return QoSProfile(depth=10, reliability=RELIABLE)


def state(depth: int = 1) -> QoSProfile:
    """What late joiners must hear too: plans and device profiles.

    Args:
        depth: how many are kept; a reader of several writers needs one for each.
    """
    return QoSProfile(
        depth=depth,
        reliability=RELIABLE,
        durability=TRANSIENT_LOCAL,
    )


def overridable(profile: QoSProfile, adapts: bool = False) -> QoSOverridingOptions:
    """Which policies of a profile the parameters ``qos_overrides.*`` may change.

    What late joiners must hear stays so.

    Args:
        profile: of the topic.
        adapts: reliability follows who is at the other end; its parameter would keep the first.
    """
    kinds = [*QoSOverridingOptions.with_default_policies().policy_kinds, QoSPolicyKind.DURABILITY]
    if adapts:
        kinds.remove(QoSPolicyKind.RELIABILITY)
    for_late_joiners = profile.durability is TRANSIENT_LOCAL

    def check(changed: QoSProfile) -> SetParametersResult:
        # Raised, for rclpy puts many words around what this returns.
        if not 0 <= changed.depth < 2**31:
            raise CodesignError(f"depth must be from 0 to {2**31 - 1}, not {changed.depth}")
        policies = (changed.durability, changed.reliability)
        if for_late_joiners and policies != (TRANSIENT_LOCAL, RELIABLE):
            raise CodesignError(
                "whoever comes late must hear this too: durability must be transient_local and "
                "reliability reliable"
            )
        return SetParametersResult(successful=True)

    return QoSOverridingOptions(kinds, callback=check)


def when_missed(on_missed: Callable[[int], None]) -> SubscriptionEventCallbacks:
    """Have a callback called when DDS has lost messages on their way, with how many."""

    def on_message_lost(event: Any) -> None:
        on_missed(event.total_count_change)

    return SubscriptionEventCallbacks(message_lost=on_message_lost)
