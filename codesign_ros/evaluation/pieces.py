"""One form of a network, run whole and cut in two with something sent between."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from codesign_ros.engines.onnx_model.pieces import PieceCutter
from codesign_ros.engines.ort import OnnxEngine
from codesign_ros.evaluation.accuracy_forms import Sent
from codesign_ros.models.network import Network
from codesign_ros.pixels.letterbox import normalise
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.tensors import TensorSpec
from codesign_ros.wire.codecs import encode
from codesign_ros.wire.decode import WireLimits, decode

_Specs = tuple[TensorSpec, ...]


class Pieces:
    """Engines for pieces of one form of a network, each on one thread.

    Several threads may ask for outputs at the same time; what comes out does not depend on how
    many there are.

    Args:
        network: the trained network, for its crossings.
        model: the form as ONNX.
        precision: in which its pieces compute.
        ways: what is sent.
        films: all frames as a tail gets them by a codec that knows the frames before, by codec.
    """

    def __init__(
        self,
        network: Network,
        model: bytes,
        precision: str,
        ways: Sequence[tuple[int, str]] = (),
        films: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        self._input = network.input_spec
        self._limits = WireLimits()
        self._ways = ways
        self._films = films or {}
        cutter = PieceCutter(model, for_cpu=True, float16=precision == "fp16")

        def engine(inputs: _Specs, outputs: _Specs) -> OnnxEngine:
            return OnnxEngine(cutter.piece(inputs, outputs), inputs, outputs, threads=1)

        frame, answer = network.crossing(0), network.crossing(len(network.segment_names))
        self._crossings = {cut: network.crossing(cut) for cut, _ in ways if cut}
        crossing = itertools.chain.from_iterable(self._crossings.values())
        # One run gives the answer and the tensors of all cuts.
        self._whole = engine(frame, tuple(dict.fromkeys((*crossing, *answer))))
        self._tails = {cut: engine(specs, answer) for cut, specs in self._crossings.items()}
        self._tails[0] = engine(frame, answer) if self._crossings else self._whole
        self._answer = answer[0].name

    def outputs(self, image: np.ndarray, number: int = 0) -> Iterator[tuple[Sent, np.ndarray]]:
        """Yield the output for a frame, uint8 (H, W, 3), uncut and for each way.

        ``number``: its place among the frames.

        A way whose codec cannot carry what crosses, as fp16 beyond 65504, is left out.
        """
        made = self._whole.run({"image": normalise(image, self._input)})
        yield None, made[self._answer]
        for cut, codec in self._ways:
            try:
                received = self._received(cut, codec, self._seen(codec, image, number), made)
            except CodesignError:
                continue
            yield (cut, codec), self._tails[cut].run(received)[self._answer]

    def _seen(self, codec: str, image: np.ndarray, number: int) -> np.ndarray:
        """What becomes of a frame before it is written by itself."""
        return self._films[codec][number] if codec in self._films else image

    def _received(
        self, cut: int, codec: str, image: np.ndarray, made: dict[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """What a tail gets."""
        if not cut:
            frame = TensorSpec("image", image.shape, "uint8")
            # A camera's JPEG first, where that is encoded anew.
            for each in () if codec in self._films else codec.split("+"):
                image = decode(encode("image", image, each), frame, self._limits)
            return {"image": normalise(image, self._input)}
        return {
            spec.name: decode(encode(spec.name, made[spec.name], codec), spec, self._limits)
            for spec in self._crossings[cut]
        }
