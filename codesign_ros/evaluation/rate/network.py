"""A detector whose tensors are sent at some cuts: answers and bytes of each way, and of frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from codesign_ros.bundle import Bundle
from codesign_ros.engines.onnx_model.forms import as_it_runs, in_precision
from codesign_ros.engines.onnx_model.pieces import PieceCutter
from codesign_ros.engines.ort import OnnxEngine
from codesign_ros.evaluation.neck.accuracy import MeasuredNeck
from codesign_ros.models.neck import with_neck
from codesign_ros.pixels.letterbox import normalise
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import Merge, Structure
from codesign_ros.types.tensors import NECK, TensorSpec
from codesign_ros.wire.codecs import encode
from codesign_ros.wire.decode import WireLimits, decode

_Specs = tuple[TensorSpec, ...]
_Tensors = dict[str, np.ndarray]


class Sent(NamedTuple):
    """What a tail made of something that was sent.

    Attributes:
        payload_bytes: its size [bytes].
        output: of the network.
    """

    payload_bytes: int
    output: np.ndarray


def way_name(cut: int, codec: str) -> str:
    """What is sent at a cut."""
    return f"{codec} at {cut}"


class CutDetector:
    """Engines for the folded ``S3`` of a bundle's network, each on one thread.

    The segments before all cuts run once for a frame, whatever is sent. Several threads may ask at
    the same time.

    Args:
        bundle: the network and its necks.
        precision: one of ``types.forms.PRECISIONS``.
        cuts: where tensors are sent by each of ``codecs``.
        codecs: of ``wire.codecs.TENSOR_CODECS``.
        levels: whether the rate levels of the bundle's necks are sent too.

    Raises:
        CodesignError: a cut does not exist, or the bundle is damaged.
    """

    def __init__(
        self,
        bundle: Bundle,
        precision: str,
        cuts: Sequence[int],
        codecs: Sequence[str],
        *,
        levels: bool = True,
    ) -> None:
        for cut in cuts:
            if not 1 <= cut < bundle.last_cut:
                raise CodesignError(
                    f"no tensor is sent at cut {cut}: cuts are 1 to {bundle.last_cut - 1}"
                )
        self.precision = precision
        self._limits = WireLimits()
        self._codecs = tuple(codecs)
        self._necks = [MeasuredNeck.of(bundle, neck.cut) for neck in bundle.necks if levels]
        network = as_it_runs(bundle.network(), Structure.S3, Merge.FOLD, bundle.calibration_frames)
        self._input = network.input_spec
        frame, answer = network.crossing(0), network.crossing(len(network.segment_names))
        self._answer = answer[0].name
        self._crossings = {cut: network.crossing(cut) for cut in sorted(set(cuts))}

        def cutter(whole: bytes) -> PieceCutter:
            return PieceCutter(whole, for_cpu=True, float16=precision == "fp16")

        def engine(pieces: PieceCutter, inputs: _Specs, outputs: _Specs) -> OnnxEngine:
            return OnnxEngine(pieces.piece(inputs, outputs), inputs, outputs, threads=1)

        pieces = cutter(in_precision(network, precision, bundle.calibration_frames))
        crossing = [network.crossing(neck.cut) for neck in self._necks]
        wanted = dict.fromkeys(spec for specs in (*self._crossings.values(), *crossing)
                               for spec in specs)  # fmt: skip
        self._whole = engine(pieces, frame, (*wanted, *answer))
        self._of_frame = engine(pieces, frame, answer) if wanted else self._whole
        self._tails = {cut: engine(pieces, specs, answer)
                       for cut, specs in self._crossings.items()}  # fmt: skip
        self._encoders, self._decoders = [], []
        for neck, specs in zip(self._necks, crossing, strict=True):
            own = as_it_runs(neck.network, Structure.S3, Merge.FOLD, bundle.calibration_frames)
            changed = with_neck(own, neck.cut, neck.enter, neck.module)
            of_neck = cutter(in_precision(changed, precision, bundle.calibration_frames))
            latent = changed.crossing(neck.cut + 1)
            self._encoders.append(engine(of_neck, specs, latent))
            self._decoders.append(engine(of_neck, latent, answer))

    @property
    def ways(self) -> list[tuple[int, str]]:
        """Cut and codec of all that is sent, as ``sent`` yields them."""
        tensors = [(cut, codec) for cut in self._crossings for codec in self._codecs]
        return [*(way for neck in self._necks for way in neck.ways), *tensors]

    @property
    def necks(self) -> Sequence[MeasuredNeck]:
        """The necks whose levels are sent."""
        return self._necks

    def of_frame(self, image: np.ndarray) -> np.ndarray:
        """The output for a frame, uint8 (H, W, 3) RGB, letterboxed."""
        return self._of_frame.run({"image": normalise(image, self._input)})[self._answer]

    def sent(self, image: np.ndarray) -> Iterator[Sent | None]:
        """Yield the whole network's output for a frame, with its own bytes; then that of each way.

        None stands for a way whose codec cannot carry what crosses, as fp16 beyond 65504.
        """
        made = self._made(image)
        yield Sent(image.nbytes, made[self._answer])
        latents = self._latents(made)
        for neck, latent, decoder in zip(self._necks, latents, self._decoders, strict=True):
            for level in range(len(neck.codec.codecs)):
                encoded = neck.codec.encode(latent, level)
                received = {NECK: neck.codec.decode(encoded, self._limits)}
                yield Sent(encoded.payload_bytes, decoder.run(received)[self._answer])
        for cut, specs in self._crossings.items():
            for codec in self._codecs:
                try:
                    payload_bytes, received = self._through(made, specs, codec)
                except CodesignError:
                    yield None
                    continue
                yield Sent(payload_bytes, self._tails[cut].run(received)[self._answer])

    def latents(self, image: np.ndarray) -> list[np.ndarray]:
        """What the encoder of each neck makes of a frame, float32 (1, C, h, w) each."""
        return self._latents(self._made(image))

    def _made(self, image: np.ndarray) -> _Tensors:
        """What crosses the cuts, and the answer."""
        return self._whole.run({"image": normalise(image, self._input)})

    def _latents(self, made: _Tensors) -> list[np.ndarray]:
        return [
            encoder.run({spec.name: made[spec.name] for spec in encoder.inputs})[NECK]
            for encoder in self._encoders
        ]

    def _through(self, made: _Tensors, specs: _Specs, codec: str) -> tuple[int, _Tensors]:
        """Bytes of what crosses, and what a tail gets of it."""
        encoded = [encode(spec.name, made[spec.name], codec) for spec in specs]
        received = {
            spec.name: decode(each, spec, self._limits)
            for spec, each in zip(specs, encoded, strict=True)
        }
        return sum(each.payload_bytes for each in encoded), received
