"""A network with a neck in the forms of an accuracy table: what its rate levels lose."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from codesign_ros.bundle import Bundle
from codesign_ros.engines.onnx_model.forms import as_it_runs, in_precision
from codesign_ros.models.neck import with_neck
from codesign_ros.models.network import Network
from codesign_ros.pixels.letterbox import normalise
from codesign_ros.runtime.neck_codec import NeckCodec
from codesign_ros.types import NECK, Merge, Structure, TensorSpec
from codesign_ros.wire.decode import WireLimits

if TYPE_CHECKING:
    from codesign_ros.models.neck import Neck

Run = Callable[
    [dict[str, np.ndarray], tuple[TensorSpec, ...], tuple[TensorSpec, ...]], dict[str, np.ndarray]
]
"""Runs what lies between two sets of tensors."""


@dataclass(frozen=True, eq=False)
class MeasuredNeck:
    """One neck of a bundle.

    Attributes:
        cut: where it is.
        enter: the cut whose tensor its decoder makes.
        module: encoder and decoder.
        codec: writes and reads what its encoder makes.
        sha256: of its file.
    """

    cut: int
    enter: int
    module: Neck
    codec: NeckCodec
    sha256: str

    @classmethod
    def of(cls, bundle: Bundle, cut: int) -> MeasuredNeck:
        """Read the neck at a cut.

        Raises:
            CodesignError: there is none, or it is damaged.
        """
        info = bundle.neck(cut)
        codec = NeckCodec(bundle, cut)
        return cls(cut, info.enter, bundle.neck_module(cut), codec, info.sha256)

    def __repr__(self) -> str:
        """What tells it from others, for the fingerprint of a measurement."""
        return f"neck {self.cut} {self.sha256}"

    @property
    def ways(self) -> list[tuple[int, str]]:
        """The cut with each of its codecs."""
        return [(self.cut, codec) for codec in self.codec.codecs]

    def in_form(
        self,
        network: Network,
        structure: Structure,
        merge: Merge,
        precision: str,
        frames: Callable[[], np.ndarray],
    ) -> tuple[Network, bytes]:
        """Put it into a trained network in a form; return that, and it as ONNX.

        Raises:
            CodesignError: see ``in_precision``.
        """
        made = as_it_runs(network, structure, merge, frames)
        made = with_neck(made, self.cut, self.enter, self.module)
        return made, in_precision(made, precision, frames)

    def outputs(
        self, network: Network, run: Run, image: np.ndarray
    ) -> Iterator[tuple[tuple[int, str], np.ndarray]]:
        """Yield the output for a frame, uint8 (H, W, 3), at each of its rate levels.

        Args:
            network: with the neck.
            run: runs a part of it.
            image: the frame.
        """
        crossing = network.crossing(self.cut + 1)
        (output,) = network.crossing(len(network.segment_names))
        normalised = {"image": normalise(image, network.input_spec)}
        latent = run(normalised, network.crossing(0), crossing)[NECK]
        limits = WireLimits()
        for level, codec in enumerate(self.codec.codecs):
            received = {NECK: self.codec.decode(self.codec.encode(latent, level), limits)}
            yield (self.cut, codec), run(received, crossing, (output,))[output.name]
