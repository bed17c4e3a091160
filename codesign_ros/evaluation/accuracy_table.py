"""Measures a classifier's accuracy in every form that a plan can give it, for its bundle.

One run of the network yields the tensors of all cuts; each is then sent through each codec, and
only what lies behind the cut runs again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from codesign_ros.cost.accuracy import AccuracyRow, AccuracyTable
from codesign_ros.engines.export import export_onnx
from codesign_ros.engines.onnx import OnnxEngine, PieceCutter
from codesign_ros.models.network import Network
from codesign_ros.models.reparam import reparameterize
from codesign_ros.preprocess import normalise
from codesign_ros.types import Merge, Structure, TensorSpec
from codesign_ros.wire.codecs import encode
from codesign_ros.wire.decode import Limits, decode

PRECISION = "fp32"
LOSSY_CODECS = ("fp16", "uint8", "uint4")
"""Codecs that change a tensor; zstd on top of one changes nothing more."""

FORMS = tuple((structure, merge) for merge in Merge for structure in Structure)
"""What is measured uncut: four structures under both merges."""


def measure_accuracy(
    network: Network,
    images: Sequence[np.ndarray] | np.ndarray,
    labels: np.ndarray,
    *,
    data: str,
    threads: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> AccuracyTable:
    """Measure a trained classifier, fp32 on ONNX Runtime.

    Rows: the whole network in every form, head and tail alike, which is what Eq. 9-10 need; the
    frame as JPEG at cut 0; each of ``LOSSY_CODECS``, without and with zstd, at every cut between.
    Codecs are measured in one form, the folded ``S3``: folding is exact, so the same tensors cross
    in all folded forms.

    Args:
        network: trained, with all its branches.
        images: letterboxed frames, uint8 (n, H, W, 3) RGB, n > 0, that it has not seen.
        labels: (n,) index of each frame's true class.
        data: says in the table what the frames are.
        threads: threads of one engine.
        progress: called with (runs of an engine done, runs in all) as the work goes on.
    """
    cuts = len(network.segment_names) - 1
    total = len(images) * (1 + len(FORMS) + 2 + cuts * len(LOSSY_CODECS))
    done = 0

    def ran(runs: int) -> None:
        nonlocal done
        done += runs
        if progress is not None:
            progress(done, total)

    def whole(form: Network) -> float:
        engine = _Pieces(form, threads).whole()
        hits = 0
        for image, label in zip(images, labels, strict=True):
            hits += int(_answer(engine, normalise(image, form.input_spec)) == label)
            ran(1)
        return hits / len(images)

    rows = [
        AccuracyRow(
            merge, structure, structure, PRECISION, "raw", None,
            whole(reparameterize(network, structure, merge)),
        )
        for structure, merge in FORMS
    ]  # fmt: skip
    sender = _Sender(reparameterize(network, Structure.S3, Merge.FOLD), threads)
    hits: Counter[tuple[int, str]] = Counter()
    for image, label in zip(images, labels, strict=True):
        answers = sender.answers(image)
        hits.update({sent: int(answer == label) for sent, answer in answers.items()})
        ran(1 + len(answers))
    for (cut, codec), count in sorted(hits.items()):
        lossless = ("",) if codec == "jpeg" else ("", "+zstd")
        rows += [
            AccuracyRow(
                Merge.FOLD, Structure.S3, Structure.S3, PRECISION, codec + then, cut,
                count / len(images),
            )
            for then in lossless
        ]  # fmt: skip
    return AccuracyTable("accuracy", whole(network), data, tuple(rows))


class _Pieces:
    """Engines for any run of segments of one network."""

    def __init__(self, network: Network, threads: int) -> None:
        self.last = len(network.segment_names)
        self.crossings = [network.crossing(cut)[0] for cut in range(self.last + 1)]
        self._cutter = PieceCutter(export_onnx(network))
        self._threads = threads

    def engine(self, cut: int, outputs: tuple[TensorSpec, ...]) -> OnnxEngine:
        """Make the engine that takes what crosses at ``cut``."""
        inputs = (self.crossings[cut],)
        return OnnxEngine(self._cutter.piece(inputs, outputs), inputs, outputs, self._threads)

    def whole(self) -> OnnxEngine:
        """Make the engine from image to answer."""
        return self.engine(0, (self.crossings[-1],))


class _Sender:
    """Answers of a network for one frame sent in every lossy way at every cut."""

    def __init__(self, network: Network, threads: int) -> None:
        pieces = _Pieces(network, threads)
        self._spec = network.input_spec
        self._frame = TensorSpec("image", (self._spec.height, self._spec.width, 3), "uint8")
        self._crossings = pieces.crossings[1:-1]
        self._all = pieces.engine(0, tuple(self._crossings))
        self._whole = pieces.whole()
        self._tails = [pieces.engine(cut, (pieces.crossings[-1],)) for cut in range(1, pieces.last)]
        self._limits = Limits()

    def answers(self, image: np.ndarray) -> dict[tuple[int, str], int]:
        """Return the class for each (cut, codec); ``image`` is uint8 (H, W, 3)."""
        received = decode(encode("image", image, "jpeg"), self._frame, self._limits)
        answers = {(0, "jpeg"): _answer(self._whole, normalise(received, self._spec))}
        tensors = self._all.run({"image": normalise(image, self._spec)})
        for cut, (spec, tail) in enumerate(zip(self._crossings, self._tails, strict=True), start=1):
            for codec in LOSSY_CODECS:
                sent = encode(spec.name, tensors[spec.name], codec)
                answers[cut, codec] = _answer(tail, decode(sent, spec, self._limits))
        return answers


def _answer(engine: OnnxEngine, tensor: np.ndarray) -> int:
    """Run an engine with one input and the logits as output; return the class."""
    (spec,) = engine.inputs
    (logits,) = engine.run({spec.name: tensor}).values()
    return int(np.argmax(logits))
