"""SECDA: an FPGA accelerator beside the robot's processor; nothing is partitioned.

J. Haris, P. Gibson, J. Cano, N. Bohm Agostini and D. Kaeli, "SECDA: Efficient Hardware/Software
Co-Design of FPGA-based DNN Accelerators for Edge Inference", SBAC-PAD 2021, arXiv:2110.00478; [14]
of the co-design paper. SECDA is a way to design accelerators; the two that it made for a PYNQ-Z1
ran four networks up to 3.5 times as fast on average as that board's processor alone, with 2.9 times
less energy.

Simplified: the accelerator is a profile, two factors on what the robot needs for the whole network,
and it loses no accuracy. The factors are against a processor alone, so a robot that computes on a
GPU has no SECDA: how much an FPGA would do beside its GPU nobody measured. The co-design paper,
which runs all that does not partition on the edge server, would put it there; here it is where
SECDA is meant to be.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from codesign_ros.planning.policies.base import Decision, Situation, reprice
from codesign_ros.planning.policies.device_only import DeviceOnly
from codesign_ros.types.errors import CodesignError


@dataclass(frozen=True)
class Accelerator:
    """What an accelerator does for the device that it is added to.

    Attributes:
        speedup: time without over time with it.
        energy_reduction: energy without over energy with it.

    Raises:
        CodesignError: a factor is not above 0.
    """

    speedup: float
    energy_reduction: float

    def __post_init__(self) -> None:
        if not (self.speedup > 0 and self.energy_reduction > 0):
            raise CodesignError(f"an accelerator's factors must be above 0: {self}")


PYNQ_Z1 = Accelerator(speedup=3.5, energy_reduction=2.9)
"""What SECDA's abstract reports for its accelerators."""


@dataclass(frozen=True)
class Secda:
    """The peer that changes the robot's hardware.

    Attributes:
        accelerator: what is added to the robot.
    """

    accelerator: Accelerator = PYNQ_Z1

    name = "secda"

    def decide(self, situation: Situation) -> Decision:
        """Keep all on the accelerated robot.

        Raises:
            CodesignError: the robot computes on a GPU or it is not known on what, or the whole
                network's time on it is not known.
        """
        robot = situation.robot
        if robot is None or robot.computes_on != "cpu":
            on = "what is not known" if robot is None or not robot.computes_on else "a GPU"
            raise CodesignError(
                f"its factor is an FPGA's over a processor alone, and the robot computes on {on} "
                "(computes_on in devices.yaml)"
            )
        row = DeviceOnly().decide(situation).row
        faster = reprice(
            situation.problem, row, row.prediction.head_s / self.accelerator.speedup, 0.0
        )
        energy_j = faster.prediction.energy_j
        if energy_j is not None:
            energy_j /= self.accelerator.energy_reduction
            faster = replace(faster, prediction=replace(faster.prediction, energy_j=energy_j))
        return Decision(
            faster,
            f"a robot {self.accelerator.speedup:g} times as fast: other hardware",
            in_decision_space=False,
        )
