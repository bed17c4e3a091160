"""The joint objective of time and accuracy (paper, Eq. 8, 10 and 11)."""

from __future__ import annotations

from enum import Enum

import numpy as np

from codesign_ros.cost.link import Number
from codesign_ros.types import CodesignError


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
        known = ", ".join(objective.value for objective in Objective)
        raise CodesignError(f"unknown objective {name!r}; known are {known}") from None


def time_s(objective: Objective, head_s: Number, link_s: Number, tail_s: Number) -> Number:
    """T of Eq. 11 [s]: T1 + T3 + T2 (Eq. 8), or for throughput the slowest stage's time."""
    if objective is Objective.LATENCY:
        return head_s + link_s + tail_s
    return np.maximum(np.maximum(head_s, link_s), tail_s)


def total_loss(load_fraction: Number, head_loss: Number, tail_loss: Number) -> Number:
    """Delta A_total = lambda * Delta A_1 + (1 - lambda) * Delta A_2 (Eq. 10)."""
    return load_fraction * head_loss + (1.0 - load_fraction) * tail_loss


def joint_objective(time_s: Number, accuracy_loss: Number, lambda_1: float) -> Number:
    """L = T + lambda_1 * Delta A_total (Eq. 11) [s]; ``lambda_1`` in seconds per unit of loss."""
    return time_s + lambda_1 * accuracy_loss
