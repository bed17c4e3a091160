"""Training a classifier on toy pictures, its checkpoints, and the way to a bundle."""

import json
import signal
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from rich.console import Console

from codesign_ros.bundle import Bundle
from codesign_ros.models.zoo import build
from codesign_ros.training.base_run import train
from codesign_ros.training.classifier import run
from codesign_ros.training.classifier.options import ClassifierOptions
from codesign_ros.training.classifier.run import open_classifier_run
from codesign_ros.training.classifier.sets import ClassificationSet
from codesign_ros.training.classifier.trainer import (
    ClassifierConfig,
    ClassifierTrainer,
    augmentation,
)
from codesign_ros.training.curves import CURVE_FILE, CURVE_PICTURE
from codesign_ros.training.tensors import classify
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.tensors import InputSpec
from support.tiny import TINY_ACCURACY

SIDE = 24
SPEC = InputSpec(SIDE, SIDE, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
CLASSES = ("left", "right")
CONFIG = ClassifierConfig(steps=6, batch_frames=8)


def toy_pictures(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Noise with a bright half: which one is the class, so a mirrored picture is of the other."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 60, (count, SIDE, SIDE, 3), dtype=np.uint8)
    labels = np.arange(count) % 2
    for image, label in zip(images, labels, strict=True):
        image[:, SIDE // 2 * label :][:, : SIDE // 2] += 150
    return images, labels.astype(np.int64)


def toy_set(count: int = 20, classes=CLASSES, seed: int = 0) -> ClassificationSet:
    images, labels = toy_pictures(count, seed)
    return ClassificationSet("toy", classes, labels, (SIDE, SIDE), False, images.__getitem__)


def network():
    return build("mine_repvgg", {"classes": 2}, SPEC)


def trainer(config: ClassifierConfig = CONFIG, data: ClassificationSet | None = None):
    return ClassifierTrainer(network, data or toy_set(), config)


def same_weights(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    others = b.state_dict()
    return all(torch.equal(tensor, others[name]) for name, tensor in a.state_dict().items())


def test_it_learns():
    config = ClassifierConfig(steps=60, batch_frames=16, average_decay=0.9)
    run = trainer(config, toy_set(64))
    steps = [run.step() for _ in range(config.steps)]
    assert [s["step"] for s in steps] == list(range(1, 61))
    assert max(s["learning_rate"] for s in steps) == pytest.approx(config.learning_rate)
    assert steps[-1]["learning_rate"] < 0.01 * config.learning_rate
    images, labels = toy_pictures(40, seed=9)
    answers = classify(run.averaged(), images)
    assert (answers == labels).mean() > 0.9
    assert steps[-1]["loss"] < 0.5 * steps[0]["loss"]


def test_the_seed_decides_and_a_resumed_run_is_the_same(tmp_path):
    whole, again, other = trainer(), trainer(), trainer(replace(CONFIG, seed=2))
    steps = [whole.step() for _ in range(6)]
    for _ in range(3):
        again.step()
    file = tmp_path / "run.safetensors"
    again.save(file, {"note": [1, 2]})
    torch.manual_seed(77)
    resumed = trainer(replace(CONFIG, steps=999))
    assert resumed.resume(file) == {"note": [1, 2]}
    assert resumed.config == CONFIG  # with the steps that the run was to have
    assert [resumed.step() for _ in range(3)] == steps[3:]
    assert same_weights(resumed.averaged(), whole.averaged())
    assert other.step()["loss"] != steps[0]["loss"]
    with pytest.raises(CodesignError, match="is of a run with other options"):
        trainer(replace(CONFIG, learning_rate=0.5)).resume(file)
    with pytest.raises(CodesignError, match="there is no checkpoint"):
        trainer().resume(tmp_path / "nowhere")


def test_every_picture_is_used_once_before_one_is_used_again():
    seen = []
    images, labels = toy_pictures(20)

    def load(index):
        seen.append(index)
        return images[index]

    data = ClassificationSet("toy", CLASSES, labels, (SIDE, SIDE), False, load)
    run = ClassifierTrainer(network, data, ClassifierConfig(steps=5, batch_frames=8))
    for _ in range(5):
        run.step()
    first, second = seen[:20], seen[20:]
    assert sorted(first) == sorted(second) == list(range(20))
    assert first != second


def test_the_output_must_fit():
    with pytest.raises(CodesignError, match=r"output \(1, 2\) does not fit a classifier of 3"):
        trainer(data=toy_set(classes=("a", "b", "c")))


@pytest.mark.parametrize("side", [24, 96])
def test_augmentation_keeps_the_sides_apart(side):
    """A picture of a class that is not its mirror image's must never be mirrored."""
    image = np.zeros((3, side, side), np.uint8)
    image[:, :, : side // 4] = 255
    change = augmentation(InputSpec(side, side), mirrored_is_same=False)
    torch.manual_seed(0)
    for _ in range(20):
        changed = change(torch.from_numpy(image)).numpy()
        assert changed.shape == image.shape
        assert changed.dtype == np.uint8
        halves = changed[..., : side // 2].mean(), changed[..., side // 2 :].mean()
        assert halves[0] >= halves[1]
    mirroring = augmentation(InputSpec(side, side), mirrored_is_same=True)
    brighter = [mirroring(torch.from_numpy(image)).numpy() for _ in range(20)]
    assert {bool(c[..., 0].mean() > c[..., -1].mean()) for c in brighter} == {True, False}


def write_folder(root: Path) -> str:
    images, labels = toy_pictures(24)
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        folder = root / CLASSES[label]
        folder.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(folder / f"{i}.png"), image)
    return str(root)


OPTIONS = ClassifierOptions(steps=4, batch_frames=4, val_frames=2, threads=1, device="cpu")


def train_classifier(spec, out, options):
    options = replace(options, data=spec)
    return train(out, options, Console(quiet=True), open_classifier_run)


def test_from_a_folder_to_a_bundle_and_on_from_it(tmp_path):
    spec = write_folder(tmp_path / "data")
    out = tmp_path / "sides.bundle"
    bundle = train_classifier(spec, out, OPTIONS)
    opened = Bundle.open(out)
    assert opened.model_id == bundle.model_id
    assert (opened.name, opened.task, opened.classes) == ("sides", "classification", CLASSES)
    assert (opened.input.height, opened.input.width) == (SIDE, SIDE)
    assert "2 images of" in opened.accuracy.data
    frames = opened.calibration_frames()
    assert frames.shape == (16, SIDE, SIDE, 3)
    # What normalises the input are the statistics of the pictures.
    pixels = np.concatenate([f.reshape(-1, 3) for f in toy_pictures(24)[0]]) / 255
    assert np.allclose(opened.input.mean, pixels.mean(0), atol=0.02)
    assert np.allclose(opened.input.std, pixels.std(0), atol=0.02)
    document = json.loads((out / CURVE_FILE).read_text())
    assert [point["step"] for point in document["curve"]] == [1, 2, 3, 4]
    assert document["measured"][-1] == {"step": 4, "accuracy": opened.accuracy.reference}
    assert document["config"]["steps"] == 4
    assert cv2.imread(str(out / CURVE_PICTURE)) is not None
    assert not (tmp_path / "sides.bundle.training").exists()


def interrupted(monkeypatch, spec, out, options, at, place):
    """Train until step ``at``, and be interrupted there, which is ``place``."""
    step = ClassifierTrainer.step

    def limited(self):
        if self.steps_done == at - 1:
            signal.raise_signal(signal.SIGINT)
        return step(self)

    with monkeypatch.context() as patch:
        patch.setattr(ClassifierTrainer, "step", limited)
        with pytest.raises(CodesignError, match=f"interrupted after {place}; codesign train"):
            train_classifier(spec, out, options)


@pytest.mark.parametrize(("at", "place"), [(2, "2 of 4 steps"), (4, "the last of 4 steps")])
def test_an_interrupted_training_goes_on(tmp_path, monkeypatch, at, place):
    spec = write_folder(tmp_path / "data")
    # What is measured of a finished network is tested above.
    monkeypatch.setattr(run, "measure_accuracy", lambda *_, **__: TINY_ACCURACY)
    whole = train_classifier(spec, tmp_path / "whole", OPTIONS)
    out = tmp_path / "parts"
    interrupted(monkeypatch, spec, out, OPTIONS, at, place)
    assert not out.exists()
    with pytest.raises(CodesignError, match="is of a run of 4 steps, not 9"):
        train_classifier(spec, out, replace(OPTIONS, steps=9, resume=True))
    parts = train_classifier(spec, out, replace(OPTIONS, resume=True))
    assert same_weights(whole.network(), parts.network())
    curves = [json.loads((p / CURVE_FILE).read_text())["curve"] for p in (tmp_path / "whole", out)]
    assert curves[0] == curves[1]
    # On from a bundle that is there, with its weights and its input.
    init = replace(OPTIONS, init=out, learning_rate=1e-12, steps=1)
    after = train_classifier(spec, tmp_path / "after", init)
    assert after.input == parts.input
    old, new = (dict(b.network().named_parameters()) for b in (parts, after))
    assert all(torch.allclose(old[name], new[name], atol=1e-6) for name in old)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"val_frames": 0}, "--val-frames must be at least 1"),
        ({"batch_frames": 1}, "--batch-frames must be at least 2"),
        ({"seed": -1}, "--seed must be at least 0"),
        ({"steps": 0}, "--steps must be at least 1"),
        ({"minutes": float("nan")}, "--minutes must be more than 0 and finite"),
        ({"epochs": float("inf")}, "--epochs must be more than 0 and finite"),
        ({"input": (0, 5)}, "the input must have pixels"),
        ({"init": Path("x"), "input": (5, 5)}, "the bundle to start from fixes the input"),
    ],
)
def test_options_that_make_no_sense(change, message):
    with pytest.raises(CodesignError, match=message):
        ClassifierOptions(**{**asdict(OPTIONS), **change}).check()
