"""Colours of raw images by cv_bridge, which a ROS distribution has and PyPI does not."""

from __future__ import annotations

import numpy as np

from codesign_ros.pixels.raw import Converter, ImageError
from codesign_ros.types.errors import one_line

try:
    from cv_bridge.boost.cv_bridge_boost import cvtColor2
except ImportError:
    cvtColor2 = None  # noqa: N816 - cv_bridge's name


def _by_cv_bridge(pixels: np.ndarray, encoding: str) -> np.ndarray:
    try:
        return np.asarray(cvtColor2(pixels, encoding, "rgb8"))
    except RuntimeError as error:
        raise ImageError(
            f"cv_bridge cannot convert {encoding} to rgb8: {one_line(error)}"
        ) from None


CONVERTER: Converter | None = None if cvtColor2 is None else _by_cv_bridge
"""What converts the colours of raw images; None where OpenCV does, by the same rules."""

CONVERTED_BY = "OpenCV (cv_bridge is not installed)" if cvtColor2 is None else "cv_bridge"
