"""Results printed in the co-design paper, for comparison. What computes with them says so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

DATA_SETS = ("MNIST", "CIFAR-100", "ImageNet")
CLASSES = (10, 100, 1000)
MODELS = ("RepVGG", "Rep-ResNet-50", "Rep-GoogLeNet")
"""Base models of Table IV; its "Rep-Resnet" is Rep-ResNet-50 by the caption of Fig. 7."""

SIDD, ROOFSPLIT, OURS = "SIDD", "RoofSplit", "ours"
WO_ROOFLINE, WO_DYNAMIC = "w/o roofline", "w/o dynamic"
WO_MULTI = "w/o multi-objective"
METHODS = (SIDD, ROOFSPLIT, OURS, WO_ROOFLINE, WO_DYNAMIC, WO_MULTI)
ABLATIONS = (WO_ROOFLINE, WO_DYNAMIC, WO_MULTI)


class Table4Row(NamedTuple):
    """A row of Table IV, a value for each of ``DATA_SETS``.

    Attributes:
        fps: throughput [images/s].
        accuracy: classification accuracy [%].
        average: the last column.
    """

    fps: tuple[float, float, float]
    accuracy: tuple[float, float, float]
    average: float


def _row(*values: float) -> Table4Row:
    return Table4Row(values[0:6:2], values[1:6:2], values[6])  # type: ignore[arg-type]


TABLE_4: Mapping[str, Mapping[str, Table4Row]] = {
    SIDD: {
        "RepVGG": _row(32.13, 86.17, 28.10, 77.82, 13.77, 63.19, 50.20),
        "Rep-ResNet-50": _row(25.81, 87.63, 20.77, 79.15, 10.86, 64.22, 48.07),
        "Rep-GoogLeNet": _row(22.15, 89.17, 15.93, 82.17, 8.22, 65.06, 47.12),
    },
    ROOFSPLIT: {
        "RepVGG": _row(36.93, 88.25, 33.18, 77.62, 16.43, 63.28, 52.62),
        "Rep-ResNet-50": _row(34.26, 90.28, 29.84, 81.49, 15.37, 64.87, 52.69),
        "Rep-GoogLeNet": _row(24.89, 93.51, 20.91, 84.21, 11.88, 65.29, 50.12),
    },
    OURS: {
        "RepVGG": _row(43.17, 92.47, 37.89, 83.32, 22.64, 66.81, 57.72),
        "Rep-ResNet-50": _row(35.82, 94.79, 32.15, 84.70, 20.58, 67.72, 55.96),
        "Rep-GoogLeNet": _row(29.83, 97.28, 25.96, 86.36, 17.93, 69.15, 54.42),
    },
    WO_ROOFLINE: {
        "RepVGG": _row(41.72, 89.04, 35.72, 81.15, 19.36, 65.77, 55.46),
        "Rep-ResNet-50": _row(33.29, 91.85, 29.91, 81.59, 18.04, 66.26, 53.49),
        "Rep-GoogLeNet": _row(28.97, 93.73, 25.01, 84.33, 16.83, 68.59, 52.91),
    },
    WO_DYNAMIC: {
        "RepVGG": _row(39.55, 89.52, 33.15, 79.67, 18.53, 63.61, 54.01),
        "Rep-ResNet-50": _row(30.36, 89.04, 27.74, 78.92, 17.93, 64.48, 51.41),
        "Rep-GoogLeNet": _row(22.17, 90.37, 19.48, 82.56, 12.64, 65.76, 48.83),
    },
    WO_MULTI: {
        "RepVGG": _row(37.24, 88.13, 32.06, 78.24, 16.04, 62.35, 52.34),
        "Rep-ResNet-50": _row(28.95, 88.49, 25.64, 77.19, 14.93, 63.69, 49.82),
        "Rep-GoogLeNet": _row(21.69, 87.50, 17.95, 81.73, 11.49, 63.62, 47.33),
    },
}
"""Table IV."""

MPMS = "MPMS"


class Beside(NamedTuple):
    """A sentence of section VI-B: a method's value, and by how much ours is said to be better."""

    data_set: str
    method: str
    value: float
    ours_better_by: float


FIG_5_FPS = (
    Beside("MNIST", ROOFSPLIT, 37.48, 0.154),
    Beside("MNIST", MPMS, 39.50, 0.095),
    Beside("CIFAR-100", MPMS, 34.62, 0.102),
    Beside("ImageNet", SIDD, 11.87, 0.779),
)
"""Throughput in the text about Fig. 5 [images/s]; ours is the value times 1 plus the gain."""

FIG_5_OURS_IMAGENET_FPS = 21.11
"""The one throughput of ours that the text gives itself [images/s]."""

FIG_5_RESPONSE_S = (
    Beside("MNIST", ROOFSPLIT, 0.0612, 0.225),
    Beside("MNIST", MPMS, 0.0546, 0.132),
    Beside("ImageNet", ROOFSPLIT, 0.0517, 0.103),
    Beside("ImageNet", MPMS, 0.0489, 0.051),
)
"""Response time likewise [s]; ours is the value times 1 minus the gain."""

AVERAGE_GAIN = {"MNIST": 0.1205, "CIFAR-100": 0.1375, "ImageNet": 0.1883}
"""Gain of throughput "by an average of" over the six baselines (section I)."""

FIG_6 = (
    ("MNIST", "SECD", 88.68),
    ("MNIST", OURS, 88.68 + 1.98),
    ("CIFAR-100", OURS, 83.34),
    ("CIFAR-100", "SECD", 81.64),
    ("CIFAR-100", "SciNet", 80.75),
    ("ImageNet", OURS, 65.47),
)
"""Accuracies in the text about Fig. 6 [%]; ours on MNIST is given as 1.98 above SECD."""


class Table7Row(NamedTuple):
    """A row of Table VII: two accuracies [%], throughput [images/s], the last column."""

    helmet: float
    person: float
    fps: float
    average: float


CLOUD_EDGE, CLOUD = "cloud-edge", "cloud"
TABLE_7: Mapping[str, Table7Row] = {
    SIDD: Table7Row(84.27, 90.19, 17.41, 63.96),
    ROOFSPLIT: Table7Row(71.93, 84.06, 21.34, 59.11),
    OURS: Table7Row(79.26, 86.12, 27.98, 64.45),
    CLOUD_EDGE: Table7Row(80.49, 87.07, 12.38, 59.98),
    CLOUD: Table7Row(82.15, 88.69, 12.20, 61.01),
}
"""Table VII."""

TABLE_7_IMAGE = (640, 400)
"""Width and height of its images [px]."""
