"""The evaluation in one process, against the network in torch."""

import json

import numpy as np
import pytest
import torch

from codesign_ros.data.frames import SourceFrame
from codesign_ros.evaluation.offline import evaluate
from codesign_ros.pixels.letterbox import normalise
from codesign_ros.types.boxes import GroundTruth
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import Merge, Structure
from support.tiny import CLASSES, TINY_INPUT, tiny_frames

COUNT = 12


class ListSource:
    """Frames from memory."""

    fps = 30.0
    live = False

    def __init__(self, images, truths):
        self.frames = len(images)
        self._items = list(zip(images, truths, strict=True))

    def __iter__(self):
        for number, (image, truth) in enumerate(self._items):
            height, width, _ = image.shape
            known = None if truth is None else GroundTruth(truth)
            yield SourceFrame(
                1000 + number, image.tobytes(), "rgb8", height, width, 3 * width, known
            )


@pytest.fixture(autouse=True)
def cache(engine_cache, monkeypatch):
    monkeypatch.setenv("CODESIGN_CACHE_DIR", str(engine_cache))


@pytest.fixture(scope="module")
def images():
    return tiny_frames(COUNT, seed=5)


@pytest.fixture(scope="module")
def answers(tiny_bundle, images):
    """What the trained network, branches and all, answers in torch."""
    x = np.concatenate([normalise(image, TINY_INPUT) for image in images])
    with torch.no_grad():
        return [CLASSES[i] for i in tiny_bundle.network()(torch.from_numpy(x)).argmax(1)]


@pytest.mark.parametrize("cut", [None, 0, 1, 5, 14])
@pytest.mark.parametrize("backend", ["onnxruntime", "torch"])
def test_raw_is_the_whole_network_at_every_cut(tiny_bundle, images, answers, cut, backend):
    evaluation = evaluate(
        ListSource(images, answers),
        tiny_bundle,
        cut=cut,
        head_structure=Structure.S3_S1,
        tail_structure=Structure.S3_SS,
        backend=backend,
    )
    assert [p.answer.label for p in evaluation.predictions] == answers
    assert evaluation.quality.accuracy == 1.0
    assert evaluation.frames == COUNT
    sent = {p.payload_bytes for p in evaluation.predictions}
    last = len(tiny_bundle.segments)
    crossing = 0 if cut in (None, last) else tiny_bundle.crossings[cut][0].nbytes
    assert sent == {crossing}


def test_prune_is_another_network(tiny_bundle, images, answers):
    pruned = evaluate(ListSource(images, answers), tiny_bundle, merge=Merge.PRUNE)
    folded = evaluate(ListSource(images, answers), tiny_bundle)
    scores, others = ([p.answer.score for p in e.predictions] for e in (pruned, folded))
    assert scores != others


def test_json(tiny_bundle, images, answers):
    truths = list(answers)
    # One wrong answer and one frame without truth, to be counted by hand.
    truths[0] = next(name for name in CLASSES if name != answers[0])
    truths[1] = None
    done = []
    evaluation = evaluate(
        ListSource(images, truths),
        tiny_bundle,
        cut=5,
        codec="uint8+zstd",
        done=lambda frame, prediction: done.append((frame.stamp_ns, prediction.answer.label)),
    )
    document = json.loads(json.dumps(evaluation.to_json()))
    stamps = [p["stamp_ns"] for p in document["predictions"]]
    assert done == list(zip(stamps, [p["label"] for p in document["predictions"]], strict=True))
    assert document["frames"] == COUNT
    assert np.sum(document["confusion"]) == COUNT - 1
    assert sum(document["predicted"].values()) == COUNT
    assert stamps == list(range(1000, 1000 + COUNT))
    assert {p["file"] for p in document["predictions"]} == {None}
    labels = [p["label"] for p in document["predictions"]]
    known = [(t, p) for t, p in zip(truths, labels, strict=True) if t is not None]
    assert document["accuracy"] == sum(t == p for t, p in known) / len(known)
    assert document["plan"]["codec"] == "uint8+zstd"
    assert 0 < document["wire_bytes_per_frame"] < tiny_bundle.crossings[5][0].nbytes / 2


def test_without_truth_there_is_no_accuracy(tiny_bundle, images):
    evaluation = evaluate(ListSource(images[:2], [None, None]), tiny_bundle)
    assert evaluation.quality.accuracy is None
    assert evaluation.to_json()["accuracy"] is None


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"cut": 16}, "cut 16 does not exist: tiny has cuts 0 to 15"),
        ({"cut": -1}, "cut -1 does not exist"),
        ({"cut": 3, "codec": "jpeg"}, "codec 'jpeg' cannot carry float32 'stage2.0' at cut 3"),
        ({"cut": 0, "codec": "fp16"}, "codec 'fp16' cannot carry uint8 'image' at cut 0"),
        ({"cut": 3, "codec": "h264"}, "codec 'h264' cannot carry .* usable there: raw, "),
        ({"backend": "abacus"}, "unknown backend 'abacus'"),
    ],
)
def test_mistakes_are_one_line(tiny_bundle, images, arguments, text):
    with pytest.raises(CodesignError, match=text) as error:
        evaluate(ListSource(images[:1], [None]), tiny_bundle, **arguments)
    assert "\n" not in str(error.value)


def test_truth_of_another_task(tiny_bundle, images):
    evaluation = evaluate(ListSource(images[:1], ["cat"]), tiny_bundle)
    with pytest.raises(CodesignError, match="ground truth has class 'cat'"):
        _ = evaluation.quality.accuracy
