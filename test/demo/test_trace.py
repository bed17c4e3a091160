"""The trace of a running robot: what Perfetto reads, and that each frame's time is all in it."""

import io
import json
import math

import pytest
from rich.console import Console

pytest.importorskip("rclpy")

from codesign_ros.demo.trace import STAGES, TRACKS, stage_table, stage_times, trace_events
from codesign_ros.runtime.messages import Result, Stamp, Status


def a_result(number, **times):
    stamp = Stamp(1_700_000_000_000_000_000 + number * 50_000_000)
    said = {
        "head_s": 0.010, "encode_s": 0.001, "link_s": 0.020, "queue_s": 0.002, "decode_s": 0.001,
        "tail_s": 0.030, "response_s": 0.070,
    }  # fmt: skip
    return Result(stamp, number, 1, finished_by="server", **{**said, **times})


def slices_of(events):
    return [event for event in json.loads(json.dumps(events)) if event["ph"] == "X"]


def test_a_frame_is_laid_out_from_its_stamp_to_its_result():
    slices = slices_of(trace_events([a_result(0), a_result(1)]))
    for number in (0, 1):
        mine = [each for each in slices if each["args"]["sequence"] == number]
        assert [each["name"] for each in mine] == list(STAGES)
        end = 50_000.0 * number
        for each in mine:
            assert each["ts"] == pytest.approx(end)
            end = each["ts"] + each["dur"]
        assert end == pytest.approx(50_000.0 * number + 70_000.0)


def test_what_no_stage_accounts_for_is_waiting():
    assert stage_times(a_result(0))["wait"] == pytest.approx(0.006)
    assert stage_times(a_result(0, response_s=0.01))["wait"] == 0.0


def test_a_stamp_that_cannot_be_right_spoils_nothing_else():
    results = [a_result(0), a_result(1, response_s=math.nan)]
    assert stage_times(results[1])["wait"] == 0.0
    assert "NaN" not in json.dumps(trace_events(results))
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(stage_table(results))
    text = console.export_text()
    assert "nan" not in text
    assert "70 ms" in text


def test_slices_of_one_row_do_not_overlap():
    results = [a_result(number, link_s=0.2, response_s=0.25) for number in range(8)]
    events = trace_events(results)
    rows = {}
    for each in sorted(slices_of(events), key=lambda each: each["ts"]):
        assert each["ts"] >= rows.get(each["tid"], 0.0) - 0.01
        rows[each["tid"]] = each["ts"] + each["dur"]
    named = {event["tid"]: event["args"]["name"] for event in events if event["ph"] == "M"}
    assert named.keys() == rows.keys()
    assert set(named.values()) == set(TRACKS)
    # 200 ms on the link, a frame every 50 ms.
    assert list(named.values()).count("link") == 4


def test_a_stage_that_a_frame_did_not_go_through_has_no_slice():
    alone = a_result(0, encode_s=0.0, link_s=0.0, queue_s=0.0, decode_s=0.0, tail_s=0.0)
    assert [each["name"] for each in slices_of(trace_events([alone]))] == ["wait", "head"]


def test_a_dropped_frame_is_a_mark():
    dropped = Result(Stamp(1_700_000_000_000_000_000), 0, 1, status=Status.DROPPED, reason="busy")
    (mark,) = trace_events([dropped])
    assert (mark["ph"], mark["name"]) == ("i", "dropped: busy")
    assert "0 frames answered, 1 dropped" in stage_table([dropped]).title


def test_the_table_has_medians():
    results = [a_result(number, tail_s=0.001 * number) for number in range(1, 10)]
    table = stage_table(results)
    cells = dict(zip(table.columns[0].cells, table.columns[2].cells, strict=True))
    assert cells["tail"] == "5 ms"
    assert cells["response"] == "70 ms"
