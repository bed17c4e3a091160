"""The joint objective of time and accuracy (paper, Eq. 8, 10 and 11)."""

from __future__ import annotations

from enum import Enum

import numpy as np

from codesign_ros.cost.link import Number
from codesign_ros.types.errors import CodesignError, did_you_mean


class Objective(str, Enum):
    """Which time counts: of one frame through all stages, or between two results of a pipeline."""

    LATENCY = "latency"
    THROUGHPUT = "throughput"


def parse_objective(name: str) -> Objective:
    """Turn a name into an objective.

    Raises:
        CodesignError: there is none of that name; the text lists those that there are.
    """
    try:
        return Objective(name)
    except ValueError:
        known = [objective.value for objective in Objective]
        raise CodesignError(
            f"unknown objective {name!r}{did_you_mean(name, known)}; known are {', '.join(known)}"
        ) from None


def time_s(objective: Objective, latency_s: Number, pace_s: Number) -> Number:
    """T of Eq. 11 [s]: T1 + T3 + T2 (Eq. 8), or for throughput the time between two results."""
    return latency_s if objective is Objective.LATENCY else pace_s


def pace_s(
    head_s: Number,
    occupancy_s: Number,
    tail_s: Number,
    latency_s: Number,
    window: int | None,
    head_gap_s: float = 0.0,
    tail_gap_s: float = 0.0,
) -> Number:
    """Time between two results of a pipeline [s].

    It is the slowest of robot, link and server, where the link's time is its occupancy: what only
    travels does not keep the next frame waiting. With ``window`` frames in flight at most, a new
    one starts when an answer arrives, so it is also the round trip over the window.

    Args:
        head_s: T1 [s].
        occupancy_s: how long a payload keeps the link [s].
        tail_s: T2 [s].
        latency_s: the whole round trip of one frame [s].
        window: frames in flight; None = no limit.
        head_gap_s: what the robot has to do between two frames beside T1 [s].
        tail_gap_s: likewise the server beside T2, where it has any part in the frame [s].
    """
    server_s = tail_s + tail_gap_s * np.greater(tail_s, 0.0)
    slowest_s = np.maximum(np.maximum(head_s + head_gap_s, occupancy_s), server_s)
    return slowest_s if window is None else np.maximum(slowest_s, latency_s / window)


def total_loss(load_fraction: Number, head_loss: Number, tail_loss: Number) -> Number:
    """Delta A_total = lambda * Delta A_1 + (1 - lambda) * Delta A_2 (Eq. 10)."""
    return load_fraction * head_loss + (1.0 - load_fraction) * tail_loss


def joint_objective(time_s: Number, accuracy_loss: Number, lambda_1: float) -> Number:
    """L = T + lambda_1 * Delta A_total (Eq. 11) [s]; ``lambda_1`` in seconds per unit of loss."""
    return time_s + lambda_1 * accuracy_loss
