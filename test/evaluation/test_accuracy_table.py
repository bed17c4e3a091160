"""The accuracy table against the same network in torch, and against whole runs of the pieces."""

import itertools
import json
import math

import cv2
import numpy as np
import pytest
import torch

from codesign_ros.cost.accuracy import AccuracyTable
from codesign_ros.engines.onnx_model.forms import as_onnx
from codesign_ros.engines.onnx_model.pieces import PieceCutter
from codesign_ros.engines.ort import OnnxEngine
from codesign_ros.evaluation.accuracy_forms import (
    FOLDED,
    LOSSY_CODECS,
    Form,
    all_forms,
    distinct,
    first_of_each_precision,
    quick_cuts,
)
from codesign_ros.evaluation.accuracy_report import accuracy_tables
from codesign_ros.evaluation.accuracy_table import measure_accuracy, measure_forms
from codesign_ros.evaluation.average_precision import measure
from codesign_ros.evaluation.judges import BoxJudge, ClassJudge
from codesign_ros.evaluation.rate.film import coded_films
from codesign_ros.evaluation.rate.video import FORMATS, VideoCoder
from codesign_ros.models.halves import split
from codesign_ros.models.reparam import reparameterize
from codesign_ros.pixels.boxes import decode_detections, to_frame
from codesign_ros.pixels.letterbox import normalise
from codesign_ros.types.boxes import Box
from codesign_ros.types.codec_names import JPEG444_CODECS
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import BRANCH_STRUCTURES, Merge, Structure
from codesign_ros.wire.codecs import encode
from codesign_ros.wire.decode import WireLimits, decode
from support.detectors import DETECTOR_CLASSES, tiny_detector
from support.tiny import TINY_INPUT, tiny_frames, tiny_network

COUNT = 10


@pytest.fixture(scope="module")
def network():
    return tiny_network(seed=3)


@pytest.fixture(scope="module")
def images():
    return tiny_frames(COUNT, seed=8)


@pytest.fixture(scope="module")
def x(images):
    stacked = np.concatenate([normalise(image, TINY_INPUT) for image in images])
    return torch.from_numpy(stacked)


@pytest.fixture(scope="module")
def labels(network, x):
    """The network's own answers, a few of them changed: its accuracy is 0.8."""
    with torch.no_grad():
        own = network(x).argmax(1).numpy()
    own[:2] = (own[:2] + 1) % 3
    return own


@pytest.fixture(scope="module")
def progress():
    return []


@pytest.fixture(scope="module")
def table(network, images, labels, progress):
    return measure_accuracy(
        network, images, labels, data="noise", progress=lambda *state: progress.append(state)
    )


def value(table, **wanted):
    (row,) = [r for r in table.rows if all(getattr(r, k) == v for k, v in wanted.items())]
    assert row.precision == "fp32"
    return row.value


@torch.no_grad()
def test_forms(table, network, x, labels):
    assert table.reference == 0.8
    for structure, merge in itertools.product(BRANCH_STRUCTURES, (Merge.FOLD, Merge.PRUNE)):
        answers = reparameterize(network, structure, merge)(x).argmax(1).numpy()
        measured = value(
            table, merge=merge, head_structure=structure, tail_structure=structure, cut=None
        )
        assert measured == np.mean(answers == labels)
        if merge is Merge.FOLD:
            assert measured == table.reference


@torch.no_grad()
def test_a_codec_at_a_cut(table, network, x, labels):
    cut = 5
    head, tail = split(reparameterize(network, Structure.S3, Merge.FOLD), cut)
    (spec,) = head.outputs
    crossing = head({"image": x})[spec.name].numpy()
    # uint4 by hand: 16 levels between the least and the greatest value of each channel.
    low = crossing.min(axis=(2, 3), keepdims=True)
    step = np.maximum((crossing.max(axis=(2, 3), keepdims=True) - low) / 15, 1e-30)
    received = (low + step * np.round((crossing - low) / step)).astype(np.float32)
    (logits,) = tail({spec.name: torch.from_numpy(received)}).values()
    expected = np.mean(logits.argmax(1).numpy() == labels)
    assert value(table, cut=cut, codec="uint4") == expected


def test_rows_cover_every_cut(table, network):
    last = len(network.segment_names)
    coded = {(r.cut, r.codec) for r in table.rows if r.cut is not None}
    assert coded == {*itertools.product(range(1, last), LOSSY_CODECS), *JPEGS}
    assert all(0 <= r.value <= 1 for r in table.rows)
    assert value(table, cut=1, codec="fp16") == table.reference


def test_text_and_progress(table, progress):
    assert AccuracyTable.from_json(table.to_json()) == table
    assert table.data == "noise"
    done = [state[0] for state in progress]
    assert done == sorted(done)
    assert progress[-1][0] == progress[-1][1]


INT8 = Form(Structure.S3_SS, Merge.FOLD, "int8-channel")
PRUNED = Form(Structure.S3, Merge.PRUNE_BN)
CUT = 13  # two tensors cross
SIZE = (128, 200)  # of the frames before they were letterboxed


@pytest.fixture(scope="module")
def detector():
    return tiny_detector()


@pytest.fixture(scope="module")
def pictures():
    return tiny_frames(4, seed=3)


JPEGS = {(0, "jpeg"), *((0, way + codec) for way in ("", "jpeg+") for codec in JPEG444_CODECS)}


def as_jpeg(image, codec):
    """What OpenCV makes of a frame by default, or of the quality that the codec names in 4:4:4."""
    _, _, quality = codec.partition("444.")
    whole = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
    options = [cv2.IMWRITE_JPEG_QUALITY, int(quality or 90), *(whole if quality else ())]
    _, data = cv2.imencode(".jpg", image[..., ::-1], options)
    return cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]


class Sent:
    """A form of the detector, run as a plan would run it."""

    def __init__(self, network, form, pictures):
        self.network = network
        self.cutter = PieceCutter(as_onnx(network, *form, lambda: pictures), for_cpu=True)

    def run(self, tensors, start, stop):
        inputs, outputs = self.network.crossing(start), self.network.crossing(stop)
        return OnnxEngine(self.cutter.piece(inputs, outputs), inputs, outputs, 1).run(tensors)

    def output(self, image, cut, codec):
        last = len(self.network.segment_names)
        if not cut:
            for each in () if codec == "raw" else codec.split("+"):
                image = as_jpeg(image, each)
            return self.run({"image": normalise(image, TINY_INPUT)}, 0, last)["boxes"]
        crossing = self.run({"image": normalise(image, TINY_INPUT)}, 0, cut)
        received = {
            spec.name: decode(encode(spec.name, crossing[spec.name], codec), spec, WireLimits())
            for spec in self.network.crossing(cut)
        }
        return self.run(received, cut, last)["boxes"]


def found(output):
    return to_frame(decode_detections(output, DETECTOR_CLASSES), *SIZE, TINY_INPUT)


@pytest.fixture(scope="module")
def truths(detector, pictures):
    """Some of what the folded network finds, shifted a little, in pixels of the frame."""
    folded = Sent(detector, FOLDED, pictures)
    boxes = [found(folded.output(image, 20, "raw"))[::3] for image in pictures]
    return [[Box(b.label, b.x_min + 2, b.y_min, b.x_max + 2, b.y_max) for b in some]
            for some in boxes]  # fmt: skip


def measured(detector, pictures, truths, forms, **more):
    return measure_forms(
        detector,
        pictures,
        BoxJudge(truths, [SIZE] * len(pictures), TINY_INPUT, DETECTOR_CLASSES),
        data="noise",
        forms=forms,
        codecs=("fp16", "uint4"),
        calibration_frames=pictures,
        **{"cuts": (0, CUT), **more},
    )


@pytest.fixture(scope="module")
def detector_table(detector, pictures, truths):
    forms = (FOLDED, INT8, PRUNED)
    return measured(detector, pictures, truths, forms, coded_forms=forms)


@pytest.mark.parametrize("form", [FOLDED, INT8, PRUNED])
def test_a_detector_is_measured_as_a_plan_runs_it(detector, pictures, truths, detector_table, form):
    sent = Sent(detector, form, pictures)
    rows = {
        (row.cut, row.codec): row
        for row in detector_table.rows
        if (row.head_structure, row.merge, row.precision) == form
    }
    assert rows.keys() == {(None, "raw"), *JPEGS, (CUT, "fp16"), (CUT, "uint4")}
    # With raw at a cut the answers are those of the whole network, which is why it has no row.
    for (cut, codec), row in [((CUT, "raw"), rows[None, "raw"]), *rows.items()]:
        if cut is None:
            continue
        answers = [found(sent.output(image, cut, codec)) for image in pictures]
        metrics = measure(truths, answers, DETECTOR_CLASSES)
        assert row.value == metrics.mean_map50
        assert row.details.get("map50.helmet") == metrics.map50["helmet"]
        assert row.details["coco.ap"] == metrics.coco["ap"]


def test_raw_at_a_cut_is_bit_equal_to_the_whole(detector, pictures):
    sent = Sent(detector, INT8, pictures)
    image = {"image": normalise(pictures[0], TINY_INPUT)}
    whole = sent.run(image, 0, len(detector.segment_names))["boxes"]
    np.testing.assert_array_equal(sent.output(pictures[0], CUT, "raw"), whole)


def test_details_are_read_back_and_shown(detector_table):
    assert AccuracyTable.from_json(detector_table.to_json()) == detector_table
    assert detector_table.metric == "map50"
    assert detector_table.reference == pytest.approx(
        np.mean([v for k, v in detector_table.details.items() if k.startswith("map50.")])
    )
    *values, details = accuracy_tables(detector_table)
    assert [[c.header for c in table.columns[3:]] for table in values] == [
        ["uncut", "jpeg at 0", *(f"{codec} at 0" for codec in JPEG444_CODECS)],
        [*(f"jpeg, then {codec} at 0" for codec in JPEG444_CODECS), f"fp16 at {CUT}",
         f"uint4 at {CUT}"],
    ]  # fmt: skip
    assert [table.row_count for table in values] == [3, 3]
    assert details.row_count == 4


def test_a_jpeg_that_is_encoded_anew_is_compared_with_itself(detector, pictures, truths):
    judge = BoxJudge(truths, [picture.shape[:2] for picture in pictures], TINY_INPUT,
                     DETECTOR_CLASSES)  # fmt: skip
    compared = []

    class Watching:
        metric, truth = judge.metric, judge.truth
        answer, to_json, from_json = judge.answer, judge.to_json, judge.from_json
        score = judge.score

        def difference_error(self, answers, others):
            compared.append((answers, others))
            return 0.0

    table = measure_forms(
        detector, pictures, Watching(), data="noise", forms=(FOLDED,), cuts=(0,), codecs=()
    )
    answers = dict(zip([row.codec for row in table.rows], compared, strict=True))
    for codec in JPEG444_CODECS:
        assert answers[codec][1] is answers["raw"][0]
        assert answers[f"jpeg+{codec}"][1] is answers["jpeg"][0]


def test_video_is_measured_on_a_film_against_the_film(detector, pictures, truths):
    """A tail gets what FFmpeg makes of the film; of a camera's JPEGs it is compared with these."""
    pytest.importorskip("av")
    codec = "h264.28"
    films = coded_films(pictures, (codec,))
    table = measured(detector, pictures, truths, (FOLDED, INT8), films=films)
    assert table == measured(detector, pictures, truths, (FOLDED, INT8), films=films, threads=3)
    for form in (FOLDED, INT8):
        rows = {row.codec: row for row in table.rows if row.precision == form.precision}
        assert list(rows) == ["raw", "jpeg", codec, f"jpeg+{codec}"]
        sent = Sent(detector, form, pictures)
        for name, unsent in ((codec, "raw"), (f"jpeg+{codec}", "jpeg")):
            coder = VideoCoder(FORMATS[0], 28, 30.0)
            seen = [as_jpeg(image, "jpeg") if "+" in name else image for image in pictures]
            answers = [found(sent.output(coder.code(each).image, 0, "raw")) for each in seen]
            assert rows[name].value == measure(truths, answers, DETECTOR_CLASSES).mean_map50
            assert rows[name].unsent == rows[unsent].value
            assert rows[unsent].unsent is None
    (shown,) = accuracy_tables(table)[:-1]
    assert [c.header for c in shown.columns[5:]] == [f"{codec} at 0", f"jpeg, then {codec} at 0"]


class Interrupting:
    """Presses Ctrl-C when so many runs are done."""

    def __init__(self, after):
        self.after, self.steps = after, []

    def __call__(self, *state):
        self.steps.append(state)
        if state[0] >= self.after:
            raise KeyboardInterrupt


@pytest.mark.parametrize("after", [0, 2, 9, 20])
def test_a_measurement_goes_on_where_it_was_broken_off(detector, pictures, truths, tmp_path, after):
    file = tmp_path / "done"
    forms, cuts = (FOLDED, INT8), {"cuts": (CUT,)}
    whole = measured(detector, pictures, truths, forms, threads=2, **cuts)
    with pytest.raises(KeyboardInterrupt):
        measured(
            detector, pictures, truths, forms, checkpoint=file, progress=Interrupting(after), **cuts
        )
    with file.open("ab") as half:  # a process that is killed may leave half a line
        half.write(b'["x", 1, [')
    steps = []
    planned = []
    parts = measured(
        detector,
        pictures,
        truths,
        forms,
        checkpoint=file,
        planned=lambda *found: planned.append(found),
        progress=lambda *state: steps.append(state),
        **cuts,
    )
    assert parts == whole
    total = len(pictures) * (1 + 3 + 3)
    assert steps[-1] == (total, total)
    ((left, seconds),) = planned
    assert left <= total - after
    assert seconds > 0
    # All is done, and nothing runs again.
    assert (
        measured(detector, pictures, truths, forms, checkpoint=file, planned=print, **cuts) == whole
    )


def test_a_checkpoint_of_something_else_is_refused(detector, pictures, truths, tmp_path):
    file = tmp_path / "done"
    measured(detector, pictures, truths, (FOLDED,), checkpoint=file)
    for other in (
        lambda: measured(detector, pictures[::-1], truths, (FOLDED,), checkpoint=file),
        lambda: measured(detector, pictures, truths[::-1], (FOLDED,), checkpoint=file),
    ):
        with pytest.raises(CodesignError, match="of another measurement"):
            other()
    for text in ("{", "[]\n", json.dumps({"measurement": "x"}) + "\n[1]\n"):
        file.write_text(text)
        with pytest.raises(CodesignError, match="no measurement that can go on; delete it"):
            measured(detector, pictures, truths, (FOLDED,), checkpoint=file)
    with pytest.raises(CodesignError, match="cannot write"):
        measured(detector, pictures, truths, (FOLDED,), checkpoint=tmp_path / "no" / "done")


def test_errors_of_differences(detector, pictures, truths, detector_table):
    judge = ClassJudge([0, 1, 2, 2])
    # Right on frames 1, 2 and 4 against 1 and 3: differences 0, 1, -1, 1.
    expected = np.std([0, 1, -1, 1]) / 2
    assert judge.difference_error([0, 1, 0, 2], [0, 0, 2, 0]) == pytest.approx(expected)
    assert judge.difference_error([0, 1, 0, 2], [0, 1, 0, 2]) == 0.0

    boxes = BoxJudge(truths, [SIZE] * len(pictures), TINY_INPUT, DETECTOR_CLASSES)
    sent = Sent(detector, FOLDED, pictures)
    last = [boxes.answer(sent.output(image, CUT, "raw")) for image in pictures]
    worse = [[], *last[1:]]
    assert boxes.difference_error(last, last) == 0.0

    # By hand: each frame left out in turn.
    def map50(answers, kept):
        found = [to_frame(answers[i], *SIZE, TINY_INPUT) for i in kept]
        return measure([truths[i] for i in kept], found, DETECTOR_CLASSES).mean_map50

    each = [[i for i in range(len(last)) if i != out] for out in range(len(last))]
    differences = np.array([map50(worse, kept) - map50(last, kept) for kept in each])
    variance = (len(last) - 1) / len(last) * ((differences - differences.mean()) ** 2).sum()
    assert boxes.difference_error(worse, last) == pytest.approx(variance**0.5)
    assert all(row.standard_error is not None for row in detector_table.rows)
    lossless = [row for row in detector_table.rows if row.codec == "fp16"]
    assert all(row.standard_error <= 0.05 for row in lossless)


def test_mistakes_are_one_line(network, detector, pictures, labels, images):
    def forms(**arguments):
        settings = {"data": "", "forms": (FOLDED,), **arguments}
        return measure_forms(network, images, ClassJudge(labels), **settings)

    with pytest.raises(CodesignError, match="nothing is sent at cut 15: cuts are 0 to 14"):
        forms(cuts=(15,))
    with pytest.raises(CodesignError, match="need calibration frames"):
        forms(forms=(PRUNED,))
    with pytest.raises(CodesignError, match="no frame to measure"):
        measure_forms(network, [], ClassJudge([]), data="", forms=(FOLDED,))
    with pytest.raises(CodesignError, match="hold no object of person, helmet, head"):
        BoxJudge([[], []], [SIZE] * 2, TINY_INPUT, DETECTOR_CLASSES)


def test_forms_and_cuts(network, detector):
    assert len(all_forms()) == len(set(all_forms())) == 4 * 3 * 4
    # In fp32 all that is folded is one function.
    assert set(all_forms()) - set(distinct(all_forms())) == {
        Form(structure, Merge.FOLD) for structure in BRANCH_STRUCTURES[1:]
    }
    assert distinct(all_forms()[12:]) == all_forms()[12:]  # S3 is not among them
    ruined = Form(Structure.S3, Merge.PRUNE, "fp16")
    forms = (FOLDED, INT8, Form(Structure.S3_SS, Merge.FOLD), ruined)
    assert first_of_each_precision(forms) == (FOLDED, INT8, ruined)

    def values(network, cut):
        return sum(math.prod(spec.shape) for spec in network.crossing(cut))

    for each in (network, detector):
        cuts = quick_cuts(each)
        assert cuts[0] == 0
        assert 2 <= len(cuts) <= 7
        assert cuts == sorted(set(cuts))
        for cut in cuts[1:]:
            assert values(each, cut) != values(each, cut - 1)
