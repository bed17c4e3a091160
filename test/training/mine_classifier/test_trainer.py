"""Training: views and their targets, the trainer on toy scenes, and the whole command."""

import json
import signal

import numpy as np
import pytest
import torch

from codesign_ros.bundle import Bundle
from codesign_ros.cli.main import main
from codesign_ros.mine.generator import MineGenerator
from codesign_ros.models.zoo import build
from codesign_ros.resources import default_bundle
from codesign_ros.training.curves import CURVE_FILE
from codesign_ros.training.mine_classifier.trainer import (
    MineConfig,
    MineTrainer,
    _WithCells,
)
from codesign_ros.training.mine_classifier.views import (
    BARE_HEADED,
    EMPTY,
    HELMETS,
    IGNORED,
    ViewSampler,
    cell_targets,
    check_stride,
    class_of_view,
)
from codesign_ros.training.scenes import SceneSet, render_scenes
from codesign_ros.training.tensors import classify
from codesign_ros.types.boxes import Box
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.tensors import InputSpec
from support.tiny import CLASSES, TINY_INPUT

STRIDE = 16
HEIGHT, WIDTH = TINY_INPUT.height, TINY_INPUT.width


def toy_scenes(count: int = 24) -> SceneSet:
    """Grey frames; a white square is a helmet, a red one a head."""
    rng = np.random.default_rng(4)
    images = rng.integers(40, 60, (count, HEIGHT, WIDTH, 3), dtype=np.uint8)
    labels, boxes = np.arange(count) % 3, []
    for image, label in zip(images, labels, strict=True):
        if label == EMPTY:
            boxes.append(())
            continue
        size = int(rng.integers(7, 12))
        top, left = int(rng.integers(0, HEIGHT - size)), int(rng.integers(0, WIDTH - size))
        image[top : top + size, left : left + size] = (
            (255, 255, 255) if label == HELMETS else (255, 0, 0)
        )
        name = "helmet" if label == HELMETS else "head"
        boxes.append((Box(name, left, top, left + size, top + size),))
    return SceneSet(images, labels.astype(np.int64), tuple(boxes), "toys")


def toy_network():
    return build("mine_repvgg", {"classes": len(CLASSES)}, TINY_INPUT)


def head(x: float, y: float, label: str = "head", size: float = 10.0) -> Box:
    return Box(label, x, y, x + size, y + size)


@pytest.mark.parametrize(
    ("boxes", "label"),
    [
        ([], EMPTY),
        ([head(5, 5, "helmet")], HELMETS),
        ([head(5, 5, "helmet"), head(30, 5)], BARE_HEADED),
        ([head(-5, 5, "helmet")], IGNORED),
        ([head(-5, 5)], IGNORED),
        ([head(-5, 5, "helmet"), head(30, 5)], BARE_HEADED),
        ([head(5, 5, "helmet"), head(-5, 5)], IGNORED),
        ([head(-2, 5)], BARE_HEADED),
        ([head(-20, 5)], EMPTY),
        ([head(70, 5, "person", 30)], IGNORED),
        ([head(200, 5, "person", 30)], EMPTY),
    ],
)
def test_class_of_a_view(boxes, label):
    assert class_of_view(boxes, 64, 96) == label


def test_cells_by_hand():
    # Centre (35, 20): cell row 20/16 -> 1, column 35/16 -> 2; reach 8 + 8 px around 30..40, 15..25.
    targets, weights = cell_targets([head(30, 15)], 64, 96, STRIDE)
    assert targets.shape == weights.shape == (2, 4, 6)
    assert np.argwhere(targets).tolist() == [[1, 1, 2]]
    assert weights[0].all()
    unjudged = {(r, c) for r, c in np.argwhere(weights[1] == 0).tolist()}
    assert unjudged == {(r, c) for r in (0, 1, 2) for c in (1, 2, 3)} - {(1, 2)}


def test_cells_of_cut_and_foreign_boxes():
    targets, weights = cell_targets([head(-6, 15), head(40, 15, "person")], 64, 96, STRIDE)
    assert not targets.any()
    assert weights[0].all()
    assert not weights[1, 1, 0]


@pytest.mark.parametrize("divisor", [1, 2])
def test_targets_follow_the_picture(divisor):
    scenes = toy_scenes(12)
    sampler = ViewSampler(scenes, STRIDE, seed=0)
    height, width = HEIGHT // divisor, WIDTH // divisor
    seen = set()
    for _ in range(6):
        batch = sampler.batch(12, height, width)
        assert batch.images.shape == (12, height, width, 3)
        for image, label, cells in zip(batch.images, batch.labels, batch.cells, strict=True):
            seen.add(int(label))
            if label not in (HELMETS, BARE_HEADED):
                continue
            channel = 0 if label == HELMETS else 1
            # Light changes, but a helmet stays bright in green, and a head in red alone.
            relative = image.astype(int)
            value = relative[..., 1] if channel == 0 else relative[..., 0] - relative[..., 1]
            rows, columns = np.nonzero(value > 0.8 * value.max())
            (hit,) = np.argwhere(cells[channel])
            centre = np.array([rows.mean() + 0.5, columns.mean() + 0.5])
            # What lies beyond the last cell's centre counts as that cell's.
            centre = np.minimum(centre, STRIDE * (np.array(cells.shape[1:]) - 1))
            assert np.abs(hit * STRIDE - centre).max() <= STRIDE / 2 + 2
    assert {EMPTY, HELMETS, BARE_HEADED} <= seen


def test_every_scene_comes_up_once_a_round():
    scenes = toy_scenes(6)
    for i, image in enumerate(scenes.images):
        image[:] = 30 * i
    batch = ViewSampler(scenes, STRIDE, seed=0).batch(6, HEIGHT, WIDTH)
    greys = sorted(int(np.median(image)) for image in batch.images)
    assert len(set(greys)) == 6


def test_stride():
    assert check_stride(InputSpec(400, 640), (1, 96, 25, 40)) == 16
    assert check_stride(InputSpec(400, 640), (1, 96, 13, 20)) == 32
    with pytest.raises(CodesignError, match="no regular grid"):
        check_stride(InputSpec(400, 640), (1, 96, 24, 40))


def test_training_changes_speed_not_numbers():
    torch.manual_seed(0)
    network = toy_network().eval()
    x = torch.rand(2, 3, HEIGHT, WIDTH)
    with torch.no_grad():
        before = network(x)
        logits, cells = _WithCells(network)(x)
    torch.testing.assert_close(logits, before)
    assert cells.shape == (2, 2, 4, 6)


def test_learns_and_keeps_only_the_network():
    scenes = toy_scenes()
    config = MineConfig(steps=40, batch_frames=6, phases=((1, 1.0),), average_decay=0.8)
    trainer = MineTrainer(toy_network, scenes, config)
    steps = [trainer.step() for _ in range(40)]
    assert [s["step"] for s in steps] == list(range(1, 41))
    first, last = (np.mean([s["loss"] for s in part]) for part in (steps[:10], steps[-10:]))
    assert last < 0.6 * first
    network = trainer.averaged()
    assert network.state_dict().keys() == toy_network().state_dict().keys()
    assert not network.training
    hits = classify(network, scenes.images) == scenes.labels
    assert hits.mean() > 0.5


def test_same_seed_same_weights():
    weights = []
    for seed in (1, 1, 2):
        config = MineConfig(steps=4, batch_frames=2, phases=((2, 0.5), (1, 0.5)), seed=seed)
        trainer = MineTrainer(toy_network, toy_scenes(), config)
        for _ in range(4):
            trainer.step()
        weights.append(torch.cat([p.flatten() for p in trainer.averaged().parameters()]))
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_an_interrupted_run_goes_on(tmp_path):
    config = MineConfig(steps=6, batch_frames=2, phases=((2, 0.5), (1, 0.5)))
    whole = MineTrainer(toy_network, toy_scenes(), config)
    losses = [whole.step()["loss"] for _ in range(6)]
    again = MineTrainer(toy_network, toy_scenes(), config)
    for _ in range(4):
        again.step()
    again.save(tmp_path / "c", {})
    resumed = MineTrainer(toy_network, toy_scenes(), config)
    resumed.resume(tmp_path / "c")
    assert [resumed.step()["loss"] for _ in range(2)] == losses[4:]
    for name, tensor in resumed.averaged().state_dict().items():
        assert torch.equal(tensor, whole.averaged().state_dict()[name]), name


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--frames", "0"], "--frames must be at least 1"),
        (["--learning-rate", "0"], "--learning-rate must be more than 0"),
        (["--epochs", "0"], "--epochs must be more than 0"),
        (["--resume"], "there is no checkpoint"),
        (["--seed", "-1"], "--seed must be at least 0"),
        (["--minutes", "0"], "--minutes must be more than 0"),
        (["--minutes", "nan"], "--minutes must be more than 0"),
        (["--learning-rate", "inf"], "--learning-rate must be more than 0 and finite"),
        (["--steps", "0"], "--steps must be at least 1"),
        (
            ["--variant", "small"],
            "the training of the mine's classifier has no --variant; it ",
        ),
        (["--reg-max", "3"], "has no --reg-max"),
        (["--classes", "a"], "has no --classes"),
        (["--input", "64x96"], "has no --input"),
        (["--data", "/nowhere", "--frames", "3"], "on pictures of your own has no --frames"),
        (["--init", "@detector@"], "tells apart person, helmet, head, not empty,"),
    ],
)
def test_a_wrong_option_is_named_before_anything_is_done(tmp_path, capsys, arguments, text):
    out = tmp_path / "x.bundle"
    arguments = [str(default_bundle()) if a == "@detector@" else a for a in arguments]
    assert main(["train", str(out), "--task", "classification", *arguments]) == 2
    error = capsys.readouterr().err.strip()
    assert text in error
    assert error.count("\n") == 0
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_one_line(tmp_path):
    with pytest.raises(CodesignError, match=r"scenes need 7680000\.0 GB"):
        render_scenes(tmp_path / "scenes", 1, 10_000_000_000)


@pytest.mark.parametrize("repeated", [pytest.param(True, marks=pytest.mark.test_all), False])
def test_the_command_and_going_on_with_it(tmp_path, capsys, monkeypatch, repeated):
    out = tmp_path / "toy.bundle"
    options = ["--seed", "3", "--frames", "6", "--val-frames", "2", "--batch-frames", "2"]
    options += ["--epochs", "1", "--learning-rate", "0.1", "--device", "cpu", "--threads", "1"]
    command = ["train", str(out), "--task", "classification", *options]
    step = MineTrainer.step

    def interrupted(self):
        if self.steps_done == 1:
            signal.raise_signal(signal.SIGINT)
        return step(self)

    with monkeypatch.context() as patch:
        patch.setattr(MineTrainer, "step", interrupted)
        assert main(command) == 2
    text = capsys.readouterr().err
    assert f"interrupted after 2 of 3 steps; codesign train {out} --resume goes on" in text
    assert not out.exists()
    for other, said in (
        (["--seed", "4"], "--seed 4 is not what the interrupted run has (3)"),
        (["--task", "detection"], "--task detection is not what the interrupted run has"),
        (["--variant", "small"], "--variant small is not what the interrupted run has"),
    ):
        assert main(["train", str(out), *other, "--resume"]) == 2
        assert said in capsys.readouterr().err
    # What it was told the first time stands in the checkpoint, and may be said again.
    again = command if repeated else command[:2]
    assert main([*again, "--resume"]) == 0
    bundle = Bundle.open(out)
    assert bundle.classes == CLASSES
    # Frame 1 of the seed, as it comes out of a JPEG, is the first calibration frame.
    truth = MineGenerator(3).frame(1).image[..., ::-1]
    difference = np.abs(bundle.calibration_frames()[0].astype(int) - truth)
    assert 0 < difference.mean() < 6
    document = json.loads((out / CURVE_FILE).read_text())
    assert document["command"]["seed"] == 3
    assert document["config"]["learning_rate"] == 0.1
    assert [point["step"] for point in document["curve"]] == [1, 2, 3]
    assert np.sum(document["measured"][-1]["confusion"]) == 2
    assert "seed 1000003" in bundle.accuracy.data
    text = capsys.readouterr().out
    assert "Answers for 2 independent scenes" in text
    assert bundle.model_id in text
    assert not (tmp_path / "toy.bundle.training").exists()
    assert main([*command, "--resume"]) == 2
    assert "there is no checkpoint" in capsys.readouterr().err


def test_a_training_that_diverges_says_so(tmp_path, capsys):
    command = ["train", str(tmp_path / "x.bundle"), "--task", "classification", "--frames", "2"]
    command += ["--val-frames", "1", "--steps", "40", "--learning-rate", "1e30", "--threads", "1"]
    assert main(command) == 2
    error = capsys.readouterr().err
    assert "the training diverged: the loss of step" in error
    assert "lower --learning-rate than 1e+30" in error
