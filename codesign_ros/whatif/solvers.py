"""How the gradient searches fare beside the exhaustive one."""

from __future__ import annotations

from typing import Any

import numpy as np

from codesign_ros.cost.roofline import RooflineMode
from codesign_ros.planning.algorithm_1 import algorithm_1
from codesign_ros.planning.gradient import gradient_search
from codesign_ros.planning.problem import Problem
from codesign_ros.planning.total_time import split_curves
from codesign_ros.types.devices import DeviceSpec
from codesign_ros.whatif.report import row_json

_STARTS = {"algorithm_1": (0.5,), "algorithm_1_many_starts": tuple(np.linspace(0, 1, 11).tolist())}


def compare_solvers(
    problem: Problem, robot: DeviceSpec, server: DeviceSpec, mode: RooflineMode
) -> dict[str, dict[str, Any]]:
    """Run the joint gradient search and Algorithm 1, from lambda_0 = 0.5 and from eleven starts.

    Algorithm 1 knows the latency of one structure, with raw tensors, to the first server; its best
    cut is that of the same costs. Each result has ``report``, a sentence, and ``gap_ms``.

    Raises:
        CodesignError: operations were not counted.
    """
    joint = gradient_search(problem)
    found: dict[str, dict[str, Any]] = {
        "gradient": {
            "report": joint.report,
            "gap_ms": joint.gap_s * 1e3,
            **row_json(joint.best),
        }
    }
    curves = split_curves(problem.tables, problem.tables.axes.structures[0])
    for name, starts in _STARTS.items():
        descent = algorithm_1(curves, robot, server, problem.links[0], mode, starts)
        found[name] = {
            "report": descent.report,
            "gap_ms": descent.gap_s * 1e3,
            "lambda": descent.depth,
            "cut": descent.plan.cut,
            "best_cut": descent.best_cut,
            "latency_ms": descent.plan.latency_s * 1e3,
        }
    return found
