"""Quality of service of every topic; the parameters ``qos_overrides.*`` of a node change it."""

from __future__ import annotations

from rclpy.duration import Duration
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    LivelinessPolicy,
    QoSProfile,
    ReliabilityPolicy,
)

# How long DDS waits for a sign of life of a device before it reports the writer as lost.
LIVELINESS_LEASE_S = 1.0


def image(reliable: bool, depth: int) -> QoSProfile:
    """Frames: best effort as for any sensor, reliable where a recorded bag must arrive whole."""
    reliability = ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=depth, reliability=reliability)


def embedding() -> QoSProfile:
    """Embeddings: reliable, and few: an old one is worth less than the next."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST, depth=4, reliability=ReliabilityPolicy.RELIABLE
    )


def result() -> QoSProfile:
    """Results, small: reliable, and enough of them that a slow listener misses none."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST, depth=32, reliability=ReliabilityPolicy.RELIABLE
    )


def picture() -> QoSProfile:
    """Pictures for people: reliable, for some viewers take nothing else; only the newest counts."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST, depth=1, reliability=ReliabilityPolicy.RELIABLE
    )


def heartbeat() -> QoSProfile:
    """Signs of life: the next one comes soon, so none is repeated."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST, depth=16, reliability=ReliabilityPolicy.BEST_EFFORT
    )


def state(depth: int = 1) -> QoSProfile:
    """What late joiners must hear too: plans and device profiles.

    Args:
        depth: how many are kept; a reader of several writers needs one for each.
    """
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL,
        liveliness=LivelinessPolicy.AUTOMATIC,
        liveliness_lease_duration=Duration(seconds=LIVELINESS_LEASE_S),
    )
