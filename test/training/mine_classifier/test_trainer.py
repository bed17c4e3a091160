"""Training: views and their targets, the trainer on toy scenes, and the whole command."""

import json

import numpy as np
import pytest
import torch
from rich.console import Console

from codesign_ros.bundle import Bundle
from codesign_ros.mine.generator import MineGenerator
from codesign_ros.models.zoo import build
from codesign_ros.training.curves import CURVE_FILE
from codesign_ros.training.mine_classifier.command import TrainOptions, train_bundle
from codesign_ros.training.mine_classifier.trainer import (
    Trainer,
    TrainingConfig,
    _WithCells,
    classify,
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
from codesign_ros.types import Box, CodesignError, InputSpec
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
    return SceneSet(images, labels.astype(np.int64), tuple(boxes))


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
    config = TrainingConfig(steps=40, batch_frames=6, phases=((1, 1.0),), average_decay=0.8)
    trainer = Trainer(toy_network, scenes, config)
    steps = [trainer.step() for _ in range(40)]
    assert [s.step for s in steps] == list(range(1, 41))
    first, last = (np.mean([s.loss for s in part]) for part in (steps[:10], steps[-10:]))
    assert last < 0.6 * first
    network = trainer.network()
    assert network.state_dict().keys() == toy_network().state_dict().keys()
    assert not network.training
    hits = classify(network, scenes.images) == scenes.labels
    assert hits.mean() > 0.5


def test_same_seed_same_weights():
    weights = []
    for seed in (1, 1, 2):
        config = TrainingConfig(steps=4, batch_frames=2, phases=((2, 0.5), (1, 0.5)), seed=seed)
        trainer = Trainer(toy_network, toy_scenes(), config)
        for _ in range(4):
            trainer.step()
        weights.append(torch.cat([p.flatten() for p in trainer.network().parameters()]))
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"frames": 0}, "frames must be at least 1"),
        ({"seed": -1}, "seed must be 0 or more"),
        ({"minutes": 0.0}, "minutes must be more than 0"),
        ({"minutes": float("nan")}, "minutes must be more than 0"),
    ],
)
def test_options_are_checked(tmp_path, options, text):
    with pytest.raises(CodesignError, match=text):
        train_bundle(tmp_path / "x.bundle", TrainOptions(**options), Console())
    assert not (tmp_path / "x.bundle").exists()


def test_a_full_disk_is_one_line(tmp_path):
    with pytest.raises(CodesignError, match=r"scenes need 7680000\.0 GB"):
        render_scenes(tmp_path / "scenes", 1, 10_000_000_000)


def test_the_command(tmp_path):
    out = tmp_path / "toy.bundle"
    with (tmp_path / "log").open("w") as log:
        options = TrainOptions(seed=3, frames=4, steps=1, measure_frames=2)
        bundle = train_bundle(out, options, Console(file=log, width=120))
    assert Bundle.open(out) == bundle
    assert bundle.classes == CLASSES
    # Frame 1 of the seed, as it comes out of a JPEG, is the first calibration frame.
    truth = MineGenerator(3).frame(1).image[..., ::-1]
    difference = np.abs(bundle.calibration_frames()[0].astype(int) - truth)
    assert 0 < difference.mean() < 6
    curve = json.loads((out / CURVE_FILE).read_text())
    assert curve["command"]["seed"] == 3
    assert [point["step"] for point in curve["curve"]] == [1]
    assert np.sum(curve["confusion"]) == 2
    assert "seed 1000003" in bundle.accuracy.data
    text = (tmp_path / "log").read_text()
    assert "Learning curve" in text
    assert bundle.model_id in text
