"""Measures a network's accuracy in every form that a plan can give it, for its bundle.

One run of a form yields its answer and the tensors of all cuts; each is then sent through each
codec, and only what lies behind the cut runs again.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from codesign_ros.cost.accuracy import AccuracyTable
from codesign_ros.cost.accuracy_row import AccuracyRow
from codesign_ros.engines.onnx_model.export import export_onnx
from codesign_ros.engines.onnx_model.forms import as_onnx
from codesign_ros.engines.onnx_model.pieces import PieceCutter
from codesign_ros.engines.ort import OnnxEngine
from codesign_ros.evaluation.judges import ClassJudge, Judge
from codesign_ros.evaluation.neck_accuracy import MeasuredNeck
from codesign_ros.evaluation.resume import Resumable, fingerprint
from codesign_ros.models.network import Network
from codesign_ros.pixels.letterbox import normalise
from codesign_ros.types import (
    BRANCH_STRUCTURES,
    PRECISIONS,
    CodesignError,
    Merge,
    Structure,
    TensorSpec,
)
from codesign_ros.wire.codecs import encode
from codesign_ros.wire.decode import WireLimits, decode

LOSSY_CODECS = ("fp16", "uint8", "uint4")
"""Codecs that change a tensor; zstd on top of one changes nothing more."""

Images = Sequence[np.ndarray] | np.ndarray


class Form(NamedTuple):
    """What a network is made into; head and tail alike, which is what Eq. 9-10 need."""

    structure: Structure
    merge: Merge
    precision: str = "fp32"


FOLDED = Form(Structure.S3, Merge.FOLD)


def all_forms(
    structures: Sequence[Structure] = BRANCH_STRUCTURES,
    merges: Sequence[Merge] = tuple(Merge),
    precisions: Sequence[str] = PRECISIONS,
) -> tuple[Form, ...]:
    """List every combination of the given ones; without, of all but the structure ``rank``."""
    return tuple(map(Form._make, itertools.product(structures, merges, precisions)))


def measure_accuracy(
    network: Network,
    images: Images,
    labels: np.ndarray,
    *,
    data: str,
    threads: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> AccuracyTable:
    """Measure a trained classifier in fp32, folded and pruned; see ``measure_forms``.

    Codecs are measured at every cut, in one form, the folded ``S3``: folding is exact, so the same
    tensors cross in all folded forms.

    Args:
        network: trained, with all its branches.
        images: letterboxed frames, uint8 (n, H, W, 3) RGB, n > 0, that it has not seen.
        labels: (n,) index of each frame's true class.
        data: says in the table what the frames are.
        threads: threads of one engine.
        progress: called with (runs of an engine done, runs in all) as the work goes on.
    """
    return measure_forms(
        network,
        images,
        ClassJudge(labels),
        data=data,
        forms=all_forms(merges=(Merge.FOLD, Merge.PRUNE), precisions=("fp32",)),
        coded_forms=(FOLDED,),
        cuts=range(len(network.segment_names)),
        threads=threads,
        progress=progress,
    )


def measure_forms(
    network: Network,
    images: Images,
    judge: Judge,
    *,
    data: str,
    forms: Sequence[Form],
    coded_forms: Sequence[Form] | None = None,
    cuts: Sequence[int] = (),
    codecs: Sequence[str] = LOSSY_CODECS,
    necks: Sequence[MeasuredNeck] = (),
    calibration_frames: np.ndarray | None = None,
    threads: int = 1,
    checkpoint: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> AccuracyTable:
    """Measure a trained network on ONNX Runtime.

    Rows for each form: the whole network uncut; the frame as JPEG at cut 0; each codec at each
    other cut. ``raw`` at a cut has no row: the tail gets the same tensors as in the whole network;
    nor has a codec that cannot carry what crosses, as fp16 beyond 65504. Each row has the standard
    error of its difference from what it is compared with, frame by frame.

    Args:
        network: trained, with all its branches.
        images: letterboxed frames, uint8 (n, H, W, 3) RGB, n > 0, that it has not seen.
        judge: knows what is in them.
        data: says in the table what the frames are.
        forms: what to measure.
        coded_forms: those of them in which codecs are measured; None = all.
        cuts: where, 0 to N - 1.
        codecs: codecs that change a tensor.
        necks: those whose rate levels are measured, at their own cuts.
        calibration_frames: uint8 (n, H, W, 3), for the forms that need them.
        threads: threads of one engine.
        checkpoint: file that keeps the forms that are done; where it is there, the measurement
            goes on from it. It stays.
        progress: called with (runs of an engine done, runs in all) as the work goes on.

    Raises:
        CodesignError: there are no frames, a cut does not exist, or the checkpoint is of another
            measurement or cannot be used.
    """
    cuts = sorted(set(cuts))
    last = len(network.segment_names)
    if not len(images):
        raise CodesignError("there is no frame to measure the accuracy on")
    for cut in cuts:
        if not 0 <= cut < last:
            raise CodesignError(f"nothing is sent at cut {cut}: cuts are 0 to {last - 1}")
    coded = set(forms if coded_forms is None else coded_forms)

    def calibration() -> np.ndarray:
        if calibration_frames is None:
            raise CodesignError("INT8 and prune+bn need calibration frames")
        return calibration_frames

    def ways(form: Form) -> list[tuple[int, str]]:
        """What is measured of a form beside the uncut network."""
        sent = [(cut, codec) for cut in cuts if cut for codec in codecs]
        return [*([(0, "jpeg")] if 0 in cuts else []), *sent] if form in coded else []

    of_necks = sum(len(neck.ways) for neck in necks)
    runs = {
        form: len(images) * (1 + len(ways(form)) + of_necks * (form in coded)) for form in forms
    }
    total = len(images) + sum(runs.values())
    done = 0

    def ran(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(done, total)

    kept = Resumable(
        checkpoint,
        lambda: fingerprint(
            *(network, images, calibration_frames, judge.metric, data, cuts, codecs, coded_forms),
            *necks,
        ),
    )
    # The unchanged network, its BatchNorms and all its branches as they were trained.
    unchanged = _Pieces(network, export_onnx(network), "fp32", threads)
    (original,) = _answers(unchanged, images, judge, [], ran).values()
    for form in forms:
        if form in kept.rows:
            ran(runs[form])
            continue
        pieces = _Pieces(network, as_onnx(network, *form, calibration), form.precision, threads)
        answers = _answers(pieces, images, judge, ways(form), ran)
        for neck in necks if form in coded else ():
            with_neck, model = neck.in_form(network, *form, calibration)
            run = _Pieces(with_neck, model, form.precision, threads).run
            answers |= {way: [] for way in neck.ways}
            for image in images:
                for way, output in neck.outputs(with_neck, run, image):
                    answers[way].append(judge.answer(output))
                ran(len(neck.ways))
        kept.add(form, [_row(form, sent, answers, original, judge) for sent in answers])
    reference = judge.score(original)
    rows = tuple(itertools.chain.from_iterable(kept.rows[form] for form in forms))
    return AccuracyTable(judge.metric, reference.value, data, rows, reference.details)


_Sent = tuple[int, str] | None


def _row(
    form: Form,
    sent: _Sent,
    answers: Mapping[_Sent, list],
    unchanged: list,
    judge: Judge,
) -> AccuracyRow:
    """Score one way, and say how sure its difference from what it is compared with is."""
    cut, codec = sent or (None, "raw")
    structure, merge, precision = form
    error = judge.difference_error(answers[sent], unchanged if sent is None else answers[None])
    score = judge.score(answers[sent])
    return AccuracyRow(merge, structure, structure, precision, codec, cut, *score, error)


def _answers(
    pieces: _Pieces,
    images: Images,
    judge: Judge,
    ways: list[tuple[int, str]],
    ran: Callable[[int], None],
) -> dict[_Sent, list]:
    """Answers of the whole network (key None) and of each way that can send what crosses."""
    answers: dict[_Sent, list] = {sent: [] for sent in (None, *ways)}
    for image in images:
        for sent, output in pieces.outputs(image, ways):
            answers[sent].append(judge.answer(output))
        ran(len(answers))
    return {sent: given for sent, given in answers.items() if len(given) == len(images)}


class _Pieces:
    """Engines for pieces of one form of a network.

    Args:
        network: the trained network, for its crossings.
        model: the form as ONNX.
        precision: in which its pieces compute.
        threads: threads of one engine.
    """

    def __init__(self, network: Network, model: bytes, precision: str, threads: int) -> None:
        self._network = network
        self._cutter = PieceCutter(model, for_cpu=True, float16=precision == "fp16")
        self._threads = threads
        self._limits = WireLimits()
        self._engines: dict[tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]], OnnxEngine] = {}

    def outputs(
        self, image: np.ndarray, ways: list[tuple[int, str]]
    ) -> Iterator[tuple[_Sent, np.ndarray]]:
        """Yield the output for a frame, uint8 (H, W, 3), uncut and for each (cut, codec)."""
        input = self._network.input_spec
        crossings = {cut: self._network.crossing(cut) for cut, _ in ways if cut}
        (output,) = self._network.crossing(len(self._network.segment_names))
        made = self.run(
            {"image": normalise(image, input)},
            self._network.crossing(0),
            tuple(dict.fromkeys((*itertools.chain.from_iterable(crossings.values()), output))),
        )
        yield None, made[output.name]
        for cut, codec in ways:
            if cut:
                specs = crossings[cut]
                try:
                    received = {
                        s.name: decode(encode(s.name, made[s.name], codec), s, self._limits)
                        for s in specs
                    }
                except CodesignError:  # what crosses is beyond what the codec can carry
                    continue
            else:
                specs = self._network.crossing(0)
                frame = TensorSpec("image", image.shape, "uint8")
                jpeg = decode(encode("image", image, codec), frame, self._limits)
                received = {"image": normalise(jpeg, input)}
            yield (cut, codec), self.run(received, specs, (output,))[output.name]

    def run(
        self,
        tensors: dict[str, np.ndarray],
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
    ) -> dict[str, np.ndarray]:
        """Run what lies between two sets of tensors."""
        if (inputs, outputs) not in self._engines:
            piece = self._cutter.piece(inputs, outputs)
            self._engines[inputs, outputs] = OnnxEngine(piece, inputs, outputs, self._threads)
        return self._engines[inputs, outputs].run(tensors)
