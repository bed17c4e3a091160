"""Accuracy of a neck's levels against frames run one by one."""

import numpy as np
import pytest

from codesign_ros.bundle import write_neck
from codesign_ros.engines.factory import open_backend
from codesign_ros.evaluation.accuracy_forms import FOLDED, Form
from codesign_ros.evaluation.accuracy_table import measure_forms
from codesign_ros.evaluation.judges import ClassJudge
from codesign_ros.evaluation.neck.accuracy import MeasuredNeck
from codesign_ros.runtime.stages.engine_keys import head_key, tail_key
from codesign_ros.runtime.stages.head import HeadStage
from codesign_ros.runtime.stages.tail import TailStage
from codesign_ros.types.forms import Merge, Structure
from support.runtime import plan_for
from support.tiny import tiny_frames
from support.tiny_neck import tiny_neck, write_tiny_neck

IMAGES = tiny_frames(12, seed=4)


@pytest.mark.parametrize("precision", ["fp32", "int8-tensor"])
def test_each_level_is_what_head_and_tail_reach(each_neck_bundle, engine_cache, precision):
    factory = open_backend(each_neck_bundle, cache_dir=engine_cache)
    answers = {}
    for level in range(3):
        plan = plan_for(each_neck_bundle, 1, 3, codec=f"neck.{level}", precision=precision)
        head = HeadStage(each_neck_bundle, plan, factory.build(head_key(plan)))
        tail = TailStage(each_neck_bundle, plan, factory.build(tail_key(plan)))
        found = [tail.run(tail.decode(head.run(image).encoded)).class_scores for image in IMAGES]
        answers[level] = np.argmax(found, axis=1)
    # Right for level 1 but for three: what the others reach says how far they differ from it.
    labels = answers[1].copy()
    labels[:3] = (labels[:3] + 1) % 3
    form = Form(Structure.S3, Merge.FOLD, precision)
    steps = []
    table = measure_forms(
        each_neck_bundle.network(),
        IMAGES,
        ClassJudge(labels),
        data="12 frames of noise",
        forms=[form],
        necks=[MeasuredNeck.of(each_neck_bundle, 3)],
        calibration_frames=each_neck_bundle.calibration_frames(),
        progress=lambda done, total: steps.append((done, total)),
    )
    rows = {row.codec: row for row in table.rows if row.cut == 3}
    assert rows.keys() == {"neck.0", "neck.1", "neck.2"}
    for level, predicted in answers.items():
        row = rows[f"neck.{level}"]
        assert row.value == pytest.approx(np.mean(predicted == labels))
        assert (row.merge, row.precision) == (Merge.FOLD, precision)
        assert row.standard_error >= 0
    assert rows["neck.1"].value == 0.75
    assert steps[-1][0] == steps[-1][1] == 12 * (1 + 1 + 3)
    uncut = next(row for row in table.rows if row.cut is None)
    loss = table.codec_loss(3, "neck.2", precision, Merge.FOLD)
    assert loss.value == pytest.approx(max(0.0, uncut.value - rows["neck.2"].value))
    # It stands for no other cut.
    assert table.codec_loss(2, "neck.2", precision, Merge.FOLD) is None


def test_without_necks_nothing_is_measured_of_them(neck_bundle):
    table = measure_forms(
        neck_bundle.network(), IMAGES[:2], ClassJudge(np.zeros(2, int)), data="2", forms=[FOLDED]
    )
    assert [row.codec for row in table.rows] == ["raw"]


def test_another_neck_has_not_the_accuracy_of_the_one_before(neck_bundle, tmp_path):
    """And the same one, written again, has."""
    path = tmp_path / "again.bundle"
    again = write_tiny_neck(path, neck_bundle)
    assert again.accuracy == neck_bundle.accuracy
    other = write_neck(path, again, *tiny_neck(again, 3, 3, seed=5))
    assert other.accuracy.codec_loss(3, "neck.1", "fp32", Merge.FOLD) is None
    kept = [row for row in neck_bundle.accuracy.rows if not row.codec.startswith("neck.")]
    assert list(other.accuracy.rows) == kept
