"""A trained network in one of the forms that a plan can ask for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from codesign_ros.engines.onnx_model.export import export_onnx
from codesign_ros.models.batchnorm import reestimated
from codesign_ros.models.network import Network
from codesign_ros.models.reparam import reparameterize
from codesign_ros.pixels.letterbox import normalise
from codesign_ros.types.forms import Merge, Structure

Frames = Callable[[], np.ndarray]
"""Gives calibration frames, uint8 (n, H, W, 3) RGB, letterboxed; asked only by forms that need
them."""


def as_it_runs(network: Network, structure: Structure, merge: Merge, frames: Frames) -> Network:
    """Copy a trained network with its branches merged.

    Raises:
        CodesignError: there are no frames, or too few.
    """
    if merge is Merge.PRUNE_BN:
        images = [normalise(frame, network.input_spec) for frame in frames()]
        return reparameterize(reestimated(network, structure, images), structure, Merge.PRUNE)
    return reparameterize(network, structure, merge)


def as_onnx(
    network: Network, structure: Structure, merge: Merge, precision: str, frames: Frames
) -> bytes:
    """Make the ONNX model of a form of a trained network, see ``export_onnx`` and ``quantise``.

    Raises:
        CodesignError: there are no frames, or too few.
    """
    return in_precision(as_it_runs(network, structure, merge, frames), precision, frames)


def in_precision(network: Network, precision: str, frames: Frames) -> bytes:
    """Make the ONNX model of a re-parameterised network, see ``export_onnx`` and ``quantise``.

    For fp16 that is the fp32 model: what crosses a cut is float32, so each piece is made float16 by
    itself, see ``PieceCutter``.
    """
    model = export_onnx(network)
    if precision in ("fp32", "fp16"):
        return model
    from codesign_ros.engines.onnx_model.int8 import quantise

    images = (normalise(frame, network.input_spec) for frame in frames())
    return quantise(model, images, per_channel=precision == "int8-channel")
