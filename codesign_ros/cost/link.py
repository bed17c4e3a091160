"""The uplink: how long a payload takes."""

from __future__ import annotations

from typing import TypeVar

import numpy as np

from codesign_ros.types import LinkSpec

Number = TypeVar("Number", float, np.ndarray)
"""One candidate's value, or those of many as an array."""


def transfer_s(payload_bytes: Number, link: LinkSpec) -> Number:
    """T_3 = N_e / beta_s of Eq. 7, with bytes made bits, and the one-way delay on top [s]."""
    return 8.0 * payload_bytes / link.bandwidth_bps + link.delay_s
