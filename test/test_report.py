"""The demo's report, from recordings made by hand."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from codesign_ros.evaluation.report import (
    Baseline,
    Recording,
    is_complete,
    print_report,
    summarise,
)
from codesign_ros.runtime.values import Result, Stamp, Status
from codesign_ros.types import Plan


def answer(number, *, epoch=1, label="empty", served_by="server", response_s=0.1, size=1000):
    return Result(
        Stamp(1000 + number),
        number,
        epoch,
        label=label,
        served_by=served_by,
        response_s=response_s,
        payload_bytes=size,
    )


def recording(answers, *, frames=None, times=None, truths=None, plans=None):
    times = times or [0.1 * i for i in range(len(answers))]
    return Recording(
        frames=len(answers) if frames is None else frames,
        results=list(zip(times, answers, strict=True)),
        plans=(Plan(cut=1, epoch=1),) if plans is None else plans,
        truths=truths or {},
        one_process=[a.label for a in answers],
        baselines=[Baseline("device only", 0.2, 0.0)],
        emulation={"link_bps": 1e6},
    )


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
    answers = [answer(0), answer(1), answer(2, epoch=3, served_by="robot")]
    summary = summarise(recording(answers, times=[0.0, 0.1, 0.5], plans=plans))
    first, second = summary["epochs"]
    assert (first["epoch"], first["served_by"], first["frames"]) == (1, "/robot/tail", 2)
    assert first["pause_ms"] == 0
    assert (second["epoch"], second["served_by"], second["reason"]) == (3, "robot", "tail left")
    assert second["pause_ms"] == pytest.approx(400)


def test_frames_before_any_plan_are_shown():
    (row,) = summarise(recording([answer(0, epoch=0)], plans=()))["epochs"]
    assert (row["epoch"], row["frames"], row["served_by"]) == (0, 1, "robot")


def test_the_printed_report_shows_the_figures():
    console = Console(width=110, record=True, file=io.StringIO())
    print_report(summarise(recording([answer(0), answer(1)])), console)
    text = console.export_text()
    for expected in (
        "splitting gained nothing",
        "Plans in force",
        "device only",
        "lost, duplicated, out of order",
        "0, 0, 0",
    ):
        assert expected in text
