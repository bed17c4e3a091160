"""The evaluation of a detector in one process, against the network in torch."""

import io
import json

import cv2
import numpy as np
import pytest
import torch
from rich.console import Console

from codesign_ros.data.frames import SourceFrame
from codesign_ros.evaluation.average_precision import COCO_KEYS, measure
from codesign_ros.evaluation.offline import evaluate
from codesign_ros.evaluation.replay import is_same
from codesign_ros.evaluation.tables import evaluation_tables
from codesign_ros.pixels.boxes import decode_detections, to_frame
from codesign_ros.pixels.letterbox import letterbox, normalise
from codesign_ros.runtime.answers import Answer
from codesign_ros.types.boxes import Box, GroundTruth
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import Structure
from support.detectors import DETECTOR_CLASSES, write_detector_bundle
from support.tiny import tiny_frames

COUNT = 6
SIZE = (90, 200)  # wider than the input, so that it lies between two borders


class ListSource:
    """Frames from memory, each with its truth or None."""

    fps = 30.0
    live = False
    frames = COUNT

    def __init__(self, images, truths):
        self._items = list(zip(images, truths, strict=True))

    def __iter__(self):
        for number, (image, truth) in enumerate(self._items):
            height, width, _ = image.shape
            yield SourceFrame(
                1000 + number, image.tobytes(), "rgb8", height, width, 3 * width, truth
            )


@pytest.fixture(autouse=True)
def cache(engine_cache, monkeypatch):
    monkeypatch.setenv("CODESIGN_CACHE_DIR", str(engine_cache))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_detector_bundle(tmp_path_factory.mktemp("bundles") / "detector.bundle")


@pytest.fixture(scope="module")
def images():
    return [cv2.resize(frame, SIZE[::-1]) for frame in tiny_frames(COUNT, seed=8)]


@pytest.fixture(scope="module")
def found(bundle, images):
    """What the network in torch finds, branches and all, in pixels of the frames."""
    x = np.concatenate([normalise(letterbox(i, bundle.input), bundle.input) for i in images])
    with torch.no_grad():
        outputs = bundle.network()(torch.from_numpy(x)).numpy()
    return [
        to_frame(
            decode_detections(output[None], bundle.classes, score_threshold=0.001),
            *SIZE,
            bundle.input,
        )
        for output in outputs
    ]


@pytest.fixture(scope="module")
def truths(found):
    """Boxes near some of those: what a good detector would be compared with."""
    rng = np.random.default_rng(0)

    def near(box):
        x, y = rng.uniform(-1, 1, 2)
        return Box(box.label, box.x_min + x, box.y_min + y, box.x_max + x, box.y_max + y)

    return [GroundTruth("", tuple(near(b) for b in boxes if b.score > 0.4)) for boxes in found]


@pytest.mark.parametrize("cut", [None, 0, 13, 20])
def test_map_is_that_of_the_whole_network_at_every_cut(bundle, images, found, truths, cut):
    evaluation = evaluate(
        ListSource(images, truths), bundle, cut=cut, head_structure=Structure.S3_S1
    )
    expected = measure([truth.boxes for truth in truths], found, bundle.classes)
    # Rounding decides on boxes that overlap by just the threshold, which random weights make many.
    assert evaluation.quality.detection.map50 == pytest.approx(expected.map50, abs=0.03)
    assert evaluation.quality.detection.coco == pytest.approx(expected.coco, abs=0.03)
    assert expected.mean_map50 > 0.3
    for prediction, boxes in zip(evaluation.predictions, found, strict=True):
        assert len(prediction.answer.detections) == pytest.approx(len(boxes), abs=2)
    crossing = 0 if cut is None else sum(spec.nbytes for spec in bundle.crossings[cut])
    assert {p.payload_bytes for p in evaluation.predictions} == {crossing}


def test_json(bundle, images, truths):
    evaluation = evaluate(ListSource(images, truths), bundle, cut=13, codec="uint8+zstd")
    document = json.loads(json.dumps(evaluation.to_json()))
    assert document["map50"].keys() == set(DETECTOR_CLASSES)
    assert document["coco"].keys() == set(COCO_KEYS)
    assert document["frames"] == COUNT
    assert document["plan"]["precision"] == "fp32"
    assert "accuracy" not in document
    boxes = [box for p in document["predictions"] for box in p["detections"]]
    assert sum(document["predicted"].values()) == len(boxes)
    for box in boxes:
        assert 0 <= box["x_min"] < box["x_max"] <= SIZE[1]
        assert 0 <= box["y_min"] < box["y_max"] <= SIZE[0]


def test_only_frames_whose_truth_is_known_count(bundle, images, found, truths):
    some = [None, *truths[1:]]
    evaluation = evaluate(ListSource(images, some), bundle)
    expected = measure([t.boxes for t in truths[1:]], found[1:], bundle.classes)
    assert evaluation.quality.detection.map50 == pytest.approx(expected.map50, abs=0.03)
    assert evaluation.quality.detection.frames == COUNT - 1


def printed(evaluation):
    console = Console(width=100, record=True, file=io.StringIO())
    for table in evaluation_tables(evaluation):
        console.print(table)
    return console.export_text()


# Nobody knows; or the source knows the class of the whole frame alone.
@pytest.mark.parametrize("truth", [None, GroundTruth("helmets")])
def test_without_true_boxes_there_is_no_map(bundle, images, truth):
    evaluation = evaluate(ListSource(images, [truth] * COUNT), bundle)
    document = evaluation.to_json()
    assert document["map50"] is None
    assert document["coco"] is None
    text = printed(evaluation)
    assert "6 frames, mAP@0.5: no ground truth" in text
    assert "0.0000" not in text


def test_the_table_shows_classes_and_sizes(bundle, images, truths):
    evaluation = evaluate(ListSource(images, truths), bundle)
    text = printed(evaluation)
    metrics = evaluation.quality.detection
    for expected in (
        *DETECTOR_CLASSES,
        "small objects",
        f"6 frames, mAP@0.5: {metrics.mean_map50:.4f}",
    ):
        assert expected in text


def test_true_boxes_of_a_class_that_the_network_does_not_know(bundle, images):
    truth = GroundTruth("", (Box("lamp", 0, 0, 9, 9),))
    with pytest.raises(CodesignError, match="'lamp', which the network does not know"):
        evaluate(ListSource(images, [truth] * COUNT), bundle).to_json()


def test_the_same_boxes_but_for_float32(bundle, images):
    answer = evaluate(ListSource(images, [None] * COUNT), bundle).predictions[0].answer
    boxes = list(answer.detections)
    rounded = [
        Box(b.label, *(float(np.float32(v)) for v in (b.x_min, b.y_min, b.x_max, b.y_max)), b.score)
        for b in boxes
    ]
    assert is_same(answer, Answer(detections=tuple(rounded)))
    moved = [Box(boxes[0].label, 0, 0, 1, 1, boxes[0].score), *boxes[1:]]
    renamed = [Box("lamp", *list(vars(boxes[0]).values())[1:]), *boxes[1:]]
    for different in (boxes[1:], moved, renamed):
        assert not is_same(answer, Answer(detections=tuple(different)))
