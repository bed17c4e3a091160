"""A network of three segments whose costs can be added up in the head.

At 8 Mbit/s a kB takes 1 ms. Latency [ms] of head, link, tail in S3:
cut 0 raw 0 + 100 + 20; cut 1 raw 10 + 40 + 16, uint8 10 + 10 + 16; cut 2 raw 30 + 8 + 10, uint8
30 + 2 + 10; cut 3 100 + 0 + 0. S3+Ss takes a tenth more time. uint8 loses a point.
"""

from dataclasses import replace

import numpy as np

from codesign_ros.cost.tables import Axes, CostTables
from codesign_ros.planning.grid import grid
from codesign_ros.planning.problem import Problem
from codesign_ros.types.devices import DeviceSpec
from codesign_ros.types.forms import Structure
from codesign_ros.types.links import LinkSpec

LINK = LinkSpec(8e6)
ROBOT = DeviceSpec("small", {"fp32": 2e10}, 1e10, paper_peak_flops=6e10)
SERVER = DeviceSpec("large", {"fp32": 4e11}, 4e10)
SLOWER = 1.1


def tables(**changes):
    nan = np.nan
    by_structure = np.array([1.0, SLOWER])[:, None]
    payload = np.array([[1e5, nan], [4e4, 1e4], [8e3, 2e3], [0.0, nan]])
    no_time = np.where(np.isnan(payload), nan, 0.0)
    made = CostTables(
        axes=Axes((Structure.S3, Structure.S3_SS), codecs=("raw", "uint8"), servers=("box",)),
        head_s=np.array([0.0, 0.010, 0.030, 0.100])[:, None, None] * by_structure,
        encode_s=no_time,
        payload_bytes=payload,
        tail_s=(np.array([0.020, 0.016, 0.010, 0.0])[:, None, None] * by_structure)[None],
        decode_s=no_time[None],
        load_fraction=np.array([0.0, 0.2, 0.5, 1.0]),
        structure_loss=np.zeros((2, 1, 1)),
        codec_loss=np.array([0.0, 0.01])[None, :, None, None] * np.ones((4, 2, 1, 1)),
        # Intensities in S3: segments 1-3 have 4, 2 and 30 FLOP/byte.
        segment_flops=np.array([[4e7, 5e7], [2e7, 3e7], [3e8, 4e8]]),
        segment_bytes=np.array([[1e7, 2e7], [1e7, 2e7], [1e7, 2e7]]),
    )
    return replace(made, **changes)


def solve(made=None, **conditions):
    return grid(Problem(made or tables(), **{"links": (LINK,), **conditions}))


def alone():
    """The same network on a robot without a server."""
    full = tables()
    return tables(
        axes=replace(full.axes, servers=()), tail_s=full.tail_s[:0], decode_s=full.decode_s[:0]
    )
