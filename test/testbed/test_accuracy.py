"""Answers against the truth of the bag."""

import pytest

from codesign_ros.runtime.messages import Result, Stamp, Status
from codesign_ros.testbed.accuracy import accuracy_of
from codesign_ros.types.boxes import Box, GroundTruth

TRUE = Box("person", 10.0, 10.0, 50.0, 90.0)


def result(number, boxes, **changes):
    return Result(stamp=Stamp(number), sequence=number, epoch=1, detections=boxes, **changes)


def test_robots_count_together():
    truths = {1: GroundTruth("", (TRUE,)), 2: GroundTruth("", (TRUE,))}
    right, wrong = result(1, (TRUE,)), result(2, ())
    only_right = accuracy_of("detection", ["person"], [(truths, [right])])
    both = accuracy_of("detection", ["person"], [(truths, [right]), (truths, [wrong])])
    assert only_right == pytest.approx(1.0)
    assert both == pytest.approx(0.5, abs=0.01)


def test_what_was_dropped_or_has_no_truth_does_not_count():
    truths = {1: GroundTruth("", (TRUE,))}
    dropped = result(1, (), status=Status.DROPPED)
    assert accuracy_of("detection", ["person"], [(truths, [dropped])]) is None
    assert accuracy_of("detection", ["person"], [(truths, [result(7, (TRUE,))])]) is None


def test_classes():
    truths = {1: GroundTruth("fire"), 2: GroundTruth("fire")}
    results = [result(1, (), label="fire"), result(2, (), label="smoke")]
    assert accuracy_of("classification", ["fire", "smoke"], [(truths, results)]) == 0.5
