"""Measures a network's accuracy in every form that a plan can give it, for its bundle.

One run of a form yields its answer and the tensors of all cuts; each is then sent through each
codec, and only what lies behind the cut runs again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from codesign_ros.cost.accuracy import AccuracyTable
from codesign_ros.cost.accuracy_row import AccuracyRow
from codesign_ros.engines.onnx_model.export import export_onnx
from codesign_ros.engines.onnx_model.forms import as_onnx
from codesign_ros.evaluation.accuracy_forms import (
    FOLDED,
    LOSSY_CODECS,
    Form,
    Sent,
    all_forms,
    first_of_each_precision,
    ways,
)
from codesign_ros.evaluation.accuracy_runs import Answers, Images, Runs
from codesign_ros.evaluation.judges import ClassJudge, Judge
from codesign_ros.evaluation.neck.accuracy import MeasuredNeck, WithNecks
from codesign_ros.evaluation.pieces import Pieces
from codesign_ros.evaluation.resume import Journal, fingerprint
from codesign_ros.models.network import Network
from codesign_ros.types.codec_names import H264_CODECS, encoded_anew, is_encoded_anew
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import Merge

_JPEG = "jpeg"
# What is measured on a film.
_VIDEO = (*H264_CODECS, *map(encoded_anew, H264_CODECS))


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
        threads: frames at the same time.
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
    films: Mapping[str, np.ndarray] | None = None,
    calibration_frames: np.ndarray | None = None,
    threads: int = 1,
    checkpoint: Path | None = None,
    planned: Callable[[int, float], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> AccuracyTable:
    """Measure a trained network on ONNX Runtime.

    Rows for each form: the whole network uncut; the frame as JPEGs at cut 0, and as JPEGs made of
    such a one as cameras send; each codec at each other cut. ``raw`` at a cut has no row: the tail
    gets the same tensors as in the whole network; nor has a codec that cannot carry what crosses,
    as fp16 beyond 65504. Each row has the standard error of its difference from what it is compared
    with, frame by frame.

    Args:
        network: trained, with all its branches.
        images: letterboxed frames, uint8 (n, H, W, 3) RGB, n > 0, that it has not seen.
        judge: knows what is in them.
        data: says in the table what the frames are.
        forms: what to measure.
        coded_forms: those of them in which codecs are measured; None = the first of each precision.
        cuts: where, 0 to N - 1.
        codecs: codecs that change a tensor.
        necks: those whose rate levels are measured, each at its own cut.
        films: ``images`` as a tail gets them by codecs that know the frames before, by codec: at
            cut 0 these are measured, and nothing else is.
        calibration_frames: uint8 (n, H, W, 3), for the forms that need them.
        threads: frames at the same time; what is measured does not depend on it.
        checkpoint: file that keeps the answers; where it is there, the measurement goes on from it
            and ends with the same table. It stays.
        planned: called once, before the work, with how many runs of an engine there are to do and
            about how long they take [s], which is found by trying out a few frames.
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
    coded = first_of_each_precision(forms) if coded_forms is None else coded_forms
    sent: dict[Form | None, list[tuple[int, str]]] = {None: []}
    of_necks = [way for neck in necks for way in neck.ways]
    plain = [(0, codec) for codec in (_JPEG, *films)] if films else ways(cuts, codecs)
    sent |= {form: [*plain, *of_necks] if form in coded else [] for form in forms}

    def calibration() -> np.ndarray:
        if calibration_frames is None:
            raise CodesignError("INT8 and prune+bn need calibration frames")
        return calibration_frames

    def measurement() -> str:
        return fingerprint(network, images, calibration_frames, judge.metric, judge.truth, *necks)

    def unchanged() -> Pieces:
        """The network with its BatchNorms and all its branches as they were trained."""
        return Pieces(network, export_onnx(network), "fp32")

    def pieces(form: Form, ways: list[tuple[int, str]]) -> Pieces:
        alone = [way for way in ways if way not in of_necks]
        made = Pieces(network, as_onnx(network, *form, calibration), form.precision, alone, films)
        if len(alone) == len(ways):
            return made
        return WithNecks(made, [neck.pieces(form, calibration) for neck in necks])

    with Journal(checkpoint, measurement) as journal:
        runs = Runs(images, judge, journal, threads, sent, progress)
        if planned is not None:
            folded = pieces(FOLDED, [*plain, *of_necks])
            count = 0 if calibration_frames is None else len(calibration_frames)
            planned(runs.left, runs.estimate_s(folded, count))
        original = runs.answers(None, unchanged)[None]
        rows = []
        for form in forms:
            answers = runs.answers(form, partial(pieces, form, sent[form]))
            rows += [_row(form, way, answers, original, judge) for way in answers]
    reference = judge.score(original)
    return AccuracyTable(judge.metric, reference.value, data, tuple(rows), reference.details)


def _row(form: Form, way: Sent, answers: Answers, unchanged: list, judge: Judge) -> AccuracyRow:
    """Score one way, and say how sure its difference from what it is compared with is."""
    cut, codec = way or (None, "raw")
    structure, merge, precision = form
    compared = unchanged if way is None else answers[None]
    if is_encoded_anew(codec):
        compared = answers[0, _JPEG]
    error = judge.difference_error(answers[way], compared)
    score = judge.score(answers[way])
    unsent = judge.score(compared).value if codec in _VIDEO else None
    return AccuracyRow(merge, structure, structure, precision, codec, cut, *score, error, unsent)
