"""A network with a neck in the forms of an accuracy table: what its rate levels lose."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from codesign_ros.bundle import Bundle
from codesign_ros.engines.onnx_model.forms import as_it_runs, in_precision
from codesign_ros.engines.onnx_model.pieces import PieceCutter
from codesign_ros.engines.ort import OnnxEngine
from codesign_ros.evaluation.accuracy_forms import Form, Sent
from codesign_ros.evaluation.pieces import Pieces
from codesign_ros.models.neck import with_neck
from codesign_ros.models.network import Network
from codesign_ros.pixels.letterbox import normalise
from codesign_ros.runtime.neck_codec import NeckCodec
from codesign_ros.types.tensors import NECK
from codesign_ros.wire.decode import WireLimits

if TYPE_CHECKING:
    from codesign_ros.models.neck import Neck


@dataclass(frozen=True, eq=False)
class MeasuredNeck:
    """One neck of a bundle.

    Attributes:
        cut: where it is.
        enter: the cut whose tensor its decoder makes.
        module: encoder and decoder.
        network: the trained network, with the neck's own tail if it has one.
        codec: writes and reads what its encoder makes.
        sha256: of its file.
    """

    cut: int
    enter: int
    module: Neck
    network: Network
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
        module, network = bundle.neck_module(cut), bundle.network(cut)
        return cls(cut, info.enter, module, network, codec, info.sha256)

    def __repr__(self) -> str:
        """What tells it from others, for the fingerprint of a measurement."""
        return f"neck {self.cut} {self.sha256}"

    @property
    def ways(self) -> list[tuple[int, str]]:
        """The cut with each of its codecs."""
        return [(self.cut, codec) for codec in self.codec.codecs]

    def pieces(self, form: Form, frames: Callable[[], np.ndarray]) -> NeckPieces:
        """Make what runs it in a form of its network.

        Raises:
            CodesignError: see ``in_precision``.
        """
        made = as_it_runs(self.network, form.structure, form.merge, frames)
        made = with_neck(made, self.cut, self.enter, self.module)
        return NeckPieces(self, made, in_precision(made, form.precision, frames), form.precision)


class NeckPieces:
    """Engines for head and tail of a network with a neck in one form, each on one thread.

    Args:
        neck: the neck.
        network: with it.
        model: the same as ONNX.
        precision: in which it computes.
    """

    def __init__(self, neck: MeasuredNeck, network: Network, model: bytes, precision: str) -> None:
        self._neck = neck
        self._input = network.input_spec
        cutter = PieceCutter(model, for_cpu=True, float16=precision == "fp16")
        frame, crossing = network.crossing(0), network.crossing(neck.cut + 1)
        answer = network.crossing(len(network.segment_names))
        head, tail = cutter.piece(frame, crossing), cutter.piece(crossing, answer)
        self._head = OnnxEngine(head, frame, crossing, threads=1)
        self._tail = OnnxEngine(tail, crossing, answer, threads=1)
        self._answer = answer[0].name

    def outputs(self, image: np.ndarray) -> Iterator[tuple[tuple[int, str], np.ndarray]]:
        """Yield the output for a frame, uint8 (H, W, 3), at each of its rate levels."""
        codec, limits = self._neck.codec, WireLimits()
        latent = self._head.run({"image": normalise(image, self._input)})[NECK]
        for level, way in enumerate(self._neck.ways):
            received = {NECK: codec.decode(codec.encode(latent, level), limits)}
            yield way, self._tail.run(received)[self._answer]


class WithNecks(Pieces):
    """Pieces of a form of a network, and of the same form with each of its necks.

    Args:
        plain: those without.
        necks: those with.
    """

    def __init__(self, plain: Pieces, necks: Sequence[NeckPieces]) -> None:
        self._plain, self._necks = plain, necks

    def outputs(self, image: np.ndarray, number: int = 0) -> Iterator[tuple[Sent, np.ndarray]]:
        """Yield the output for a frame, uint8 (H, W, 3), uncut and for each way."""
        yield from self._plain.outputs(image, number)
        for neck in self._necks:
            yield from neck.outputs(image)
