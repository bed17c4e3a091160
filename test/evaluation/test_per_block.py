"""Structures per block: the choice in a made-up world, and the measurement on a tiny network."""

import json

import numpy as np
import pytest
import torch

from codesign_ros.cli.main import main
from codesign_ros.evaluation import per_block
from codesign_ros.evaluation.judges import ClassJudge, Score
from codesign_ros.evaluation.per_block import BlockEffect, measure_per_block
from codesign_ros.evaluation.per_block_report import per_block_json, per_block_tables, verdict
from codesign_ros.models.block_structure import block_segments
from codesign_ros.pixels.letterbox import normalise
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import BRANCH_STRUCTURES
from support.tiny import TINY_INPUT, tiny_frames, tiny_network

S3, S3_SS, S3_S1, ALL = BRANCH_STRUCTURES
BLOCKS = tuple(block_segments(tiny_network()))
BASE_S, VALUE = 10e-3, 0.7

# Of these blocks a structure other than S3 changes (accuracy, time [s]); of all others nothing but
# the time, which is 1 ms more.
EFFECTS = {
    (BLOCKS[0], S3_SS): (0.1, 2e-3),
    (BLOCKS[0], ALL): (0.12, 9e-3),
    (BLOCKS[3], S3_S1): (0.05, 1e-3),
    (BLOCKS[-1], S3_SS): (-0.2, -5e-3),
}


def effects(chosen):
    other = [(0.0, 0.0 if s is S3 else 1e-3) for s in chosen.values()]
    found = [EFFECTS.get(pair, none) for pair, none in zip(chosen.items(), other, strict=True)]
    return np.sum(found, 0)


class FakeRun:
    def __init__(self, network, chosen, precision, calibration_frames, threads):
        self.input, self.chosen = network.input_spec, chosen

    def output(self, normalised):
        return VALUE + effects(self.chosen)[0]


class MeanJudge:
    metric = "mean"

    def __init__(self, frames):
        self.count = len(frames)

    def answer(self, output):
        return float(output)

    def score(self, answers):
        assert len(answers) == self.count
        return Score(float(np.mean(answers)))


@pytest.fixture
def world(monkeypatch):
    monkeypatch.setattr(per_block, "_Run", FakeRun)
    monkeypatch.setattr(
        per_block,
        "_times_s",
        lambda runs, image, rounds: np.array(
            [[BASE_S + effects(run.chosen)[1]] * rounds for run in runs]
        ),
    )


def measured(**options):
    given = {"precision": "int8-tensor", "lambda_1": 0.05, "rounds": 3, **options}
    return measure_per_block(tiny_network(), tiny_frames(6), MeanJudge, **given)


def test_each_block_gets_what_pays_for_it(world):
    # At 50 ms a unit: block 0 gains 5 - 2 ms with the shortcut and 6 - 9 with all; block 3 gains
    # 2.5 - 1; the last one would lose 10 ms of accuracy for 5 of time.
    result = measured()
    others = {b: s for b, s in result.chosen.items() if s is not S3}
    assert others == {BLOCKS[0]: S3_SS, BLOCKS[3]: S3_S1}
    assert result.predicted == pytest.approx((-0.15, 3e-3))
    assert result.per_block.value == pytest.approx(VALUE + 0.15)
    assert result.per_block.time_s == pytest.approx(BASE_S + 3e-3)
    # Of the uniform ones S3+S1 gains 2.5 ms for as many as there are blocks.
    assert result.best_uniform == (S3, S3)
    assert result.gain.value == pytest.approx(0.15)
    assert result.gain.time_s == pytest.approx(3e-3)
    assert result.gain.value_error == pytest.approx(0.0)
    assert len(result.changes) == 3 * len(BLOCKS)
    assert len(result.uniform) == 4


def test_a_limit_on_the_loss_and_no_weight_buys_time_alone(world):
    assert measured(lambda_1=0.0).chosen[BLOCKS[-1]] is S3_SS
    limited = measured(lambda_1=0.0, loss_limit=0.1)
    # Losing 0.2 is allowed if others gain 0.1: block 0 does, and it costs 2 of the 5 ms.
    others = {b: s for b, s in limited.chosen.items() if s is not S3}
    assert others == {BLOCKS[0]: S3_SS, BLOCKS[-1]: S3_SS}
    with pytest.raises(CodesignError, match="loses at most"):
        measured(loss_limit=-0.5)


def test_halves_are_compared_where_they_meet(world):
    result = measured(cut=1)
    # Block 0 is segment 1, so the head may have the shortcut alone.
    assert len(result.uniform) == 16
    assert result.best_uniform == (S3_SS, S3)
    assert result.gain.value == pytest.approx(0.05)
    assert result.gain.time_s == pytest.approx(1e-3)
    with pytest.raises(CodesignError, match="cut 99 does not exist"):
        measured(cut=99)


def test_what_is_within_two_errors_counts_as_none():
    changes = [
        BlockEffect("a", S3_SS, 0.02, 0.015, 1e-3, 1e-4),
        BlockEffect("a", ALL, -0.05, 0.02, 1e-3, 0.6e-3),
        BlockEffect("b", S3_SS, 0.04, 0.01, -1e-3, 2e-3),
        BlockEffect("b", ALL, -0.02, 0.03, -3e-3, 1e-3),
    ]
    loss, time_s = per_block._certain(changes, 3)
    assert loss.tolist() == [[0, 0, -0.05], [0, 0.04, 0]]
    assert time_s.tolist() == [[0, 1e-3, 0], [0, 0, -3e-3]]


def test_errors_are_those_of_the_mean_and_of_the_median():
    # Of 40 frames 30 are right: the error of their share is sqrt(0.75 * 0.25 / 40) = 0.068.
    frames = np.zeros((40, TINY_INPUT.height, TINY_INPUT.width, 3), np.uint8)
    labels = np.array([0] * 30 + [1] * 10)
    jury = per_block._Jury(frames, range(40), lambda chosen: ClassJudge(labels[list(chosen)]))

    class Run:
        input = TINY_INPUT

        def output(self, normalised):
            return np.array([1.0, 0.0])

    scores = jury.scores(Run())
    assert scores[0] == 0.75
    assert per_block._error(scores) == pytest.approx(0.068, rel=0.4)
    values = np.random.default_rng(0).normal(3.0, 0.1, 400)
    middle, error = per_block._median(values)
    assert abs(middle - np.median(values)) < 1e-12
    assert error == pytest.approx(1.2533 * 0.1 / 20, rel=0.15)


def test_a_tiny_network_is_measured_whole():
    """Folding changes nothing in fp32, so every structure has the accuracy of the network."""
    network, images = tiny_network(seed=3), tiny_frames(6, seed=8)
    with torch.no_grad():
        x = torch.from_numpy(np.concatenate([normalise(i, TINY_INPUT) for i in images]))
        labels = network(x).argmax(1).numpy()
    labels[1] = (labels[1] + 1) % 3
    seen = []
    result = measure_per_block(
        network,
        images,
        lambda chosen: ClassJudge(labels[list(chosen)]),
        precision="fp32",
        lambda_1=1.0,
        structures=(S3, S3_SS),
        rounds=2,
        progress=lambda done, total: seen.append((done, total)),
    )
    total = 1 + len(BLOCKS) + 2 + 1
    assert seen == [(i, total) for i in range(1, total + 1)]
    assert {change.loss for change in result.changes} == {0.0}
    assert [whole.value for whole in result.uniform.values()] == pytest.approx([2 / 3, 2 / 3])
    assert result.gain.value == 0.0
    assert result.per_block.time_s > 0
    assert verdict(result).startswith("per block: accuracy 0.667, ")
    content = json.loads(json.dumps(per_block_json(result)))
    assert content["chosen"].keys() == set(BLOCKS)
    assert [table.row_count for table in per_block_tables(result)] == [len(BLOCKS), 3]


def test_what_cannot_be_measured_is_said():
    arguments = {"precision": "fp32", "lambda_1": 1.0}
    network = tiny_network()
    with pytest.raises(CodesignError, match="3 frames are too few"):
        measure_per_block(network, tiny_frames(3), MeanJudge, **arguments)
    with pytest.raises(CodesignError, match="nothing to choose"):
        measure_per_block(network, tiny_frames(4), MeanJudge, structures=(S3,), **arguments)


def test_the_command(tiny_bundle, tmp_path, capsys):
    out = tmp_path / "blocks.json"
    arguments = [
        "--bundle", str(tiny_bundle.path), "--data", "scenes:3", "--frames", "4",
        "--precision", "fp32", "--structure", "S3+Ss", "--rounds", "1", "--threads", "1",
    ]  # fmt: skip
    assert main(["blocks", *arguments, "--json", str(out)]) == 0
    assert "best uniform" in " ".join(capsys.readouterr().out.split())
    content = json.loads(out.read_text())
    assert content["frames"] == 4
    assert content["uniform"].keys() == {"S3", "S3+Ss"}
    assert main(["blocks", "--bundle", str(tiny_bundle.path), "--data", "scenes:3"]) == 2
    assert "number of frames" in capsys.readouterr().err
