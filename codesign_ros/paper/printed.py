"""Numbers printed in the co-design paper's tables, for comparison; nothing computes with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from codesign_ros.cost.intensity import Pair

TABLE_2: Mapping[str, Pair] = {
    "RepVGG": Pair(19.81, 14.29),
    "Rep-ResNet-50": Pair(38.78, 34.65),
    "Rep-ResNet-101": Pair(44.44, 38.73),
    "Rep-ResNet-152": Pair(49.13, 42.56),
    "Rep-MobileNetV1": Pair(11.47, 10.38),
    "Rep-ShuffleNetV1": Pair(9.62, 8.18),
    "Rep-EfficientNet": Pair(10.48, 8.52),
    "Rep-GoogLeNet": Pair(32.43, 24.89),
}
"""Table II: computational intensity, original and fully re-parameterised [FLOP/byte]."""


class Table3Row(NamedTuple):
    """A row of Table III: computational intensity [FLOP/byte] and verdict for each device.

    ``CC``: constrained by the device's computing, ``MC``: by its memory.
    """

    intensity: float
    verdicts: Mapping[str, str]


TABLE_3_DEVICES = ("jetson-nano", "jetson-tx1", "jetson-tx2", "jetson-xavier-nx")
"""Columns of Table III under their names in ``config/devices.yaml``."""

TABLE_3: Mapping[str, Table3Row] = {
    name: Table3Row(intensity, dict(zip(TABLE_3_DEVICES, verdicts, strict=True)))
    for name, intensity, verdicts in (
        ("RepVGG", 19.81, ("CC", "CC", "MC", "MC")),
        ("Rep-ResNet-50", 38.78, ("CC", "MC", "MC", "MC")),
        ("Rep-GoogLeNet", 32.43, ("CC", "MC", "MC", "MC")),
    )
}
"""Table III."""
