"""The joint objective of time and accuracy (paper, Eq. 11)."""

from __future__ import annotations

from enum import Enum

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


def time_s(objective: Objective, head_s: float, link_s: float, tail_s: float) -> float:
    """T of Eq. 11 [s]: T1 + T3 + T2 (Eq. 8), or for throughput the slowest stage's time."""
    if objective is Objective.LATENCY:
        return head_s + link_s + tail_s
    return max(head_s, link_s, tail_s)


def joint_objective(time_s: float, accuracy_loss: float, lambda_1: float) -> float:
    """L = T + lambda_1 * Delta A_total (Eq. 11) [s]; ``lambda_1`` in seconds per unit of loss."""
    return time_s + lambda_1 * accuracy_loss
