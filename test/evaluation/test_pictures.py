"""``codesign evaluate`` on labelled folders: classes, what people see, pictures."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from codesign_ros.cli.main import main
from codesign_ros.data.frames import SourceFrame
from codesign_ros.evaluation.pictures import CONFUSION, CURVES, FramePictures
from codesign_ros.evaluation.quality import Quality
from codesign_ros.evaluation.replay import ReplayedFrame
from codesign_ros.runtime.answers import Answer
from codesign_ros.types.boxes import Box, GroundTruth
from codesign_ros.types.errors import CodesignError
from support.detectors import DETECTOR_CLASSES, write_detector_bundle
from support.label_files import HEIGHT, WIDTH, picture, write_voc

CLASSES = ("helmet", "head")
WORN = Box("Safety Helmet", 16.0, 12.0, 32.0, 24.0)
BARE = Box("No Safety Helmet", 0.0, 0.0, 8.0, 12.0)
FILES = [("one", (WORN, BARE)), ("two", ()), ("three", (BARE,))]
MAP = "Safety Helmet=helmet,No Safety Helmet=head"


@pytest.fixture(autouse=True)
def cache(engine_cache, monkeypatch):
    monkeypatch.setenv("CODESIGN_CACHE_DIR", str(engine_cache))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_detector_bundle(tmp_path_factory.mktemp("bundles") / "detector.bundle")


def evaluate(bundle, *arguments):
    return main(["evaluate", "--bundle", str(bundle.path), *map(str, arguments)])


def test_a_labelled_folder_with_other_names(bundle, tmp_path, capsys):
    root, out, pictures = (tmp_path / name for name in ("set", "out.json", "pictures"))
    write_voc(root, FILES)
    status = evaluate(
        bundle, root, "--map", MAP, "--classes", "helmet,head", "--display-threshold", 0.5,
        "--json", out, "--pictures", pictures, "--worst", 2,
    )  # fmt: skip
    shown = capsys.readouterr().out
    assert status == 0
    assert "mAP@0.3" in shown
    assert "person" not in shown
    document = json.loads(out.read_text())
    assert document["classes"] == list(CLASSES)
    assert [p["file"] for p in document["predictions"]] == [
        str(root / "JPEGImages" / f"{stem}.jpg") for stem in ("one", "three", "two")
    ]
    assert {b["label"] for p in document["predictions"] for b in p["detections"]} <= set(CLASSES)
    seen = document["shown"]
    assert seen["score"] == 0.5
    assert [seen["classes"][name]["true"] for name in CLASSES] == [1, 2]
    assert document["map30"].keys() == document["map50"].keys() == set(CLASSES)
    frames = sorted((pictures / "frames").iterdir())
    assert [file.stem for file in frames] == ["000000_one", "000001_three", "000002_two"]
    assert cv2.imread(str(frames[0])).shape == (HEIGHT, WIDTH, 3)
    assert len(list((pictures / "worst").iterdir())) == 2
    for name in (CURVES, CONFUSION):
        assert cv2.imread(str(pictures / name)).std() > 1


def test_what_does_not_fit_is_said_before_the_first_frame(bundle, tmp_path, capsys):
    root = write_voc(tmp_path / "set", FILES)
    for arguments, text in (
        ([], "--map 'No Safety Helmet=CLASS,Safety Helmet=helmet'"),
        (["--map", "Safty Helmet=helmet"], "did you mean 'Safety Helmet'?"),
        (["--map", MAP, "--classes", "vest"], "the network has no class 'vest'"),
    ):
        assert evaluate(bundle, root, *arguments) == 2
        error = capsys.readouterr().err.strip()
        assert text in error
        assert error.count("\n") == 0  # no bar was begun
    # Nothing of the data counts without a word, if so asked.
    assert evaluate(bundle, root, "--map", "Safety Helmet=helmet", "--ignore-unknown") == 0
    assert "objects of 'No Safety Helmet' are left out" in capsys.readouterr().err


def test_a_folder_without_labels_is_drawn(bundle, tmp_path, capsys):
    picture(tmp_path / "set" / "a.jpg")
    pictures, out = tmp_path / "pictures", tmp_path / "out.json"
    assert evaluate(bundle, tmp_path / "set", "--pictures", pictures, "--json", out) == 0
    assert [path.name for path in pictures.iterdir()] == ["frames"]
    assert [path.name for path in (pictures / "frames").iterdir()] == ["000000_a.jpg"]
    assert json.loads(out.read_text())["shown"] is None
    capsys.readouterr()
    assert evaluate(bundle, tmp_path / "set", "--pictures", pictures) == 2
    assert "exists already; choose another name" in capsys.readouterr().err
    assert evaluate(bundle, tmp_path / "set", "--display-threshold", "2") == 2
    assert "--display-threshold must be a number from 0 to 1" in capsys.readouterr().err


def test_accuracy_takes_the_same_options(bundle, tmp_path, capsys):
    root, out = write_voc(tmp_path / "set", FILES), tmp_path / "table.json"
    arguments = ["accuracy", str(bundle.path), "--data", str(root), "--structure", "S3", "--merge",
                 "fold", "--precision", "fp32", "--threads", "1", "--json", str(out)]  # fmt: skip
    assert main([*arguments, "--map", MAP, "--classes", "head"]) == 0
    assert {name for name in json.loads(out.read_text())["details"] if "map50" in name} == {
        "map50.head"
    }
    assert main(arguments) == 2
    assert "which the network does not know" in capsys.readouterr().err


# ---- the worst frames


def frame_of(number, truth):
    pixels = np.full((40, 60, 3), 90, np.uint8)
    return SourceFrame(number, pixels.tobytes(), "rgb8", 40, 60, 180, truth)


def write(folder, task, classes, answers, worst=2):
    """Names of the worst frames' pictures, for pairs of truth and answer."""
    drawn = FramePictures(folder, task, classes, 0.3, worst)
    for number, (truth, answer) in enumerate(answers):
        drawn.add(frame_of(number, truth), ReplayedFrame(number, answer, truth, 0))
    written = drawn.finish(Quality(task, classes, tuple(answers)))
    worst_of = folder / "worst"
    return written, sorted(p.name for p in worst_of.iterdir()) if worst_of.exists() else []


def test_the_worst_come_first(tmp_path):
    head, helmet = Box("head", 1, 1, 20, 20), Box("helmet", 30, 5, 50, 25, 0.9)
    frames = [
        (GroundTruth("", (head,)), Answer(detections=(replace(head, score=0.8),))),  # right
        (GroundTruth("", (head,)), Answer()),
        (GroundTruth("", (head,)), Answer(detections=(helmet,))),  # one missed, one wrong
        (GroundTruth("", (head,)), Answer(detections=(replace(helmet, score=0.1),))),
        (None, Answer(detections=(helmet,))),
    ]
    written, worst = write(tmp_path / "a", "detection", CLASSES, frames)
    assert written == ["frames", "worst", CURVES, CONFUSION]
    assert worst == ["01_2_mistakes_000002.jpg", "02_1_mistakes_000001.jpg"]
    both = cv2.imread(str(tmp_path / "a" / "worst" / worst[0]))
    assert both.shape == (40, 126, 3)
    assert write(tmp_path / "b", "detection", CLASSES, frames[:1])[1] == []
    assert write(tmp_path / "c", "detection", CLASSES, frames, worst=0)[1] == []


def test_a_classifier_is_worst_where_it_is_sure(tmp_path):
    names = ("empty", "helmets")
    answers = [
        (GroundTruth("empty"), Answer(label=said, score=score))
        for said, score in (("empty", 0.9), ("helmets", 0.6), ("helmets", 0.8))
    ]
    written, worst = write(tmp_path / "a", "classification", names, answers)
    assert written == ["frames", "worst", CONFUSION]
    assert [name.split("_")[-1] for name in worst] == ["000002.jpg", "000001.jpg"]


def test_what_is_in_the_way_of_pictures(tmp_path):
    (tmp_path / "file").write_text("in the way")
    for folder in (tmp_path / "file", tmp_path):
        with pytest.raises(CodesignError, match="is not empty"):
            FramePictures(folder, "detection", DETECTOR_CLASSES, 0.3, 1)
    drawn = FramePictures(tmp_path / "new", "detection", DETECTOR_CLASSES, 0.3, 1)
    assert not (tmp_path / "new").exists()  # before there is a picture
    (tmp_path / "new").write_text("in the way")
    with pytest.raises(CodesignError, match=r"cannot write .*new: Not a directory"):
        drawn.add(frame_of(0, None), ReplayedFrame(0, Answer(), None, 0))
