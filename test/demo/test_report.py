"""The demo's report, from recordings made by hand."""

import io
import json
import math
from dataclasses import replace

import pytest
from rich.console import Console

from codesign_ros.demo.report import (
    Recording,
    answers_by_frame,
    is_complete,
    print_report,
    summarise,
)
from codesign_ros.demo.trials import Trial
from codesign_ros.evaluation.replay import ReplayedFrame
from codesign_ros.runtime.answers import answer_of
from codesign_ros.runtime.messages import Result, Stamp, Status
from codesign_ros.types.boxes import Box, GroundTruth
from codesign_ros.types.plan import Plan
from support.tiny import CLASSES


def answer(number, *, epoch=1, label="empty", finished_by="server", response_s=0.1, size=1000):
    return Result(
        Stamp(1000 + number),
        number,
        epoch,
        label=label,
        finished_by=finished_by,
        response_s=response_s,
        payload_bytes=size,
    )


def recording(answers, *, frames=None, times=None, truths=None, plans=None):
    times = times or [0.1 * i for i in range(len(answers))]
    results = list(zip(times, answers, strict=True))
    return Recording(
        frames=len(answers) if frames is None else frames,
        results=results,
        plans=(Plan(cut=1, epoch=1),) if plans is None else plans,
        truths={stamp: GroundTruth(label) for stamp, label in (truths or {}).items()},
        task="classification",
        classes=CLASSES,
        one_process=[ReplayedFrame(0, answer_of(a), None, 0) for a in answers_by_frame(results)],
        trials=[Trial("device_only", Plan(cut=2, head_s=0.2), 9, 4.5, 0.21)],
        emulation={"link_bps": 1e6},
    )


def test_frames_whose_stamps_cannot_be_right():
    answers = [answer(i, response_s=math.nan if i else 0.2) for i in range(3)]
    assert summarise(recording(answers))["response_ms"] == pytest.approx(
        {"p50": 200, "p95": 200, "p99": 200}
    )
    unknown = replace(recording(answers[1:]), trials=[Trial("device_only", Plan(cut=2), 9, 4.5)])
    summary = summarise(unknown)
    assert summary["response_ms"] == {"p50": None, "p95": None, "p99": None}
    assert summary["policies"][0]["response_ms_p50"] is None
    print_report(summary, Console(file=io.StringIO()))


def test_a_good_run():
    answers = [answer(i, label=label) for i, label in enumerate(("empty", "empty", "helmets"))]
    truths = {1000: "empty", 1001: "helmets", 1002: "helmets"}
    summary = summarise(recording(answers, truths=truths))
    assert is_complete(summary)
    assert summary["accuracy"] == pytest.approx(2 / 3)
    assert summary["throughput_fps"] == pytest.approx(10.0)
    assert summary["response_ms"] == pytest.approx({"p50": 100, "p95": 100, "p99": 100})
    assert summary["wire_bytes_per_frame"] == 1000
    assert summary["one_process"]["equal_predictions"] == 3


def test_without_ground_truth_there_is_no_accuracy():
    assert summarise(recording([answer(0)]))["accuracy"] is None


def detections(*corners, label="helmet", score=0.9):
    return tuple(Box(label, *box, score) for box in corners)


def test_a_detector_s_run_has_average_precision_and_equal_boxes():
    """Frame 0 is right, frame 1 finds nothing; in one process frame 2 has other boxes."""
    true = detections((10, 10, 50, 50), (60, 10, 90, 90), score=1.0)
    answers = [
        replace(answer(0, label=""), detections=detections((10, 10, 50, 50), (60, 10, 90, 90))),
        answer(1, label=""),
        replace(answer(2, label=""), detections=detections((11, 10, 50, 50))),
    ]
    again = [ReplayedFrame(0, answer_of(a), GroundTruth("", true), 0) for a in answers]
    again[2] = replace(again[2], answer=answer_of(answers[0]))
    whole = recording(answers)
    whole = replace(
        whole,
        task="detection",
        classes=("helmet", "head"),
        truths={1000 + i: GroundTruth("", true) for i in range(3)},
        one_process=again,
    )
    summary = summarise(whole)
    # 3 of 6 objects are found, with no false alarm: precision 1 up to recall 0.5.
    assert summary["map50"] == pytest.approx({"helmet": 51 / 101, "head": None})
    assert summary["coco"].keys() == {"ap", "ap_small", "ap_medium", "ap_large"}
    assert "accuracy" not in summary
    assert summary["one_process"]["equal_predictions"] == 2
    assert summary["one_process"]["map50"]["helmet"] == pytest.approx(67 / 101)
    assert [len(boxes) for boxes in summary["predictions"]] == [2, 0, 1]
    json.dumps(summary)
    text = printed(summary)
    for expected in ("mAP@0.5", "mAP@0.5 in one process", "helmet 0.5050, head -", "2 of 3 frames"):
        assert expected in text


def test_a_detector_s_run_without_true_boxes():
    summary = summarise(replace(recording([answer(0, label="")]), task="detection"))
    assert summary["map50"] is summary["coco"] is None
    assert "no ground truth" in printed(summary)


def test_frames_that_are_missing_are_not_compared():
    summary = summarise(replace(recording([answer(0), answer(2)], frames=3), one_process=()))
    assert summary["one_process"] is None
    assert "not compared: frames are missing" in printed(summary)


def test_a_frame_has_its_first_answer_in_the_order_of_the_frames():
    results = [(0.0, answer(2)), (0.1, answer(0)), (0.2, answer(0, label="helmets"))]
    assert [r.sequence for r in answers_by_frame(results)] == [0, 2]
    assert [r.label for r in answers_by_frame(results)] == ["empty", "empty"]


def test_what_is_lost_counts():
    summary = summarise(recording([answer(0), answer(2)], frames=3))
    assert (summary["lost"], summary["duplicated"], summary["out_of_order"]) == (1, 0, 0)
    assert not is_complete(summary)


def test_a_dropped_frame_is_lost_with_its_reason():
    dropped = replace(answer(1), status=Status.DROPPED, reason="the image is cut off")
    summary = summarise(recording([answer(0), dropped, answer(2)]))
    assert summary["lost"] == 1
    assert summary["dropped"] == {"the image is cut off": 1}
    assert not is_complete(summary)


def test_duplicates_and_wrong_order_count():
    summary = summarise(recording([answer(0), answer(2), answer(1), answer(1)], frames=3))
    assert (summary["lost"], summary["duplicated"], summary["out_of_order"]) == (0, 1, 1)
    assert not is_complete(summary)


def test_no_frame_at_all_is_not_complete():
    assert not is_complete(summarise(recording([])))


def test_epochs_have_frames_reasons_and_pauses():
    plans = (
        Plan(cut=3, epoch=1, served_by="/robot/tail", reason="start"),
        Plan(cut=5, epoch=3, reason="tail left"),
    )
    answers = [answer(0), answer(1), answer(2, epoch=3, finished_by="robot")]
    summary = summarise(recording(answers, times=[0.0, 0.1, 0.5], plans=plans))
    first, second = summary["epochs"]
    assert (first["epoch"], first["served_by"], first["frames"]) == (1, "/robot/tail", 2)
    assert first["pause_ms"] == 0
    assert (second["epoch"], second["served_by"], second["reason"]) == (3, "", "tail left")
    assert second["pause_ms"] == pytest.approx(400)


def test_frames_before_any_plan_are_shown():
    (row,) = summarise(recording([answer(0, epoch=0)], plans=()))["epochs"]
    assert (row["epoch"], row["frames"], row["served_by"]) == (0, 1, "")


def printed(summary):
    console = Console(width=110, record=True, file=io.StringIO())
    print_report(summary, console)
    return console.export_text()


def test_the_printed_report_shows_the_figures():
    text = printed(summarise(recording([answer(0), answer(1)])))
    for expected in (
        "splitting gained nothing",
        "Plans in force",
        "device_only",
        "lost, duplicated, out of order",
        "0, 0, 0",
    ):
        assert expected in text
