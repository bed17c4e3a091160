"""What is said of a plan, against sums made by hand; see ``tiny_plan``."""

from dataclasses import replace

import numpy as np
import pytest

from codesign_ros.console import data_size, link_rate, ms, points
from codesign_ros.planning.objective import Objective
from codesign_ros.planning.problem import Candidate, Limits, Problem
from codesign_ros.types.devices import DeviceSpec
from codesign_ros.types.forms import Merge, Structure
from codesign_ros.types.links import LinkSpec
from codesign_ros.whatif.bounds import work
from codesign_ros.whatif.words import choice_words, explain_plan
from support.tiny_plan import LINK, ROBOT, SERVER, alone, solve, tables

S3, SS = Structure.S3, Structure.S3_SS


def said(solution, start, **devices):
    """The one line that begins so."""
    (line,) = [line for line in explain_plan(solution, **devices) if line.startswith(start)]
    return line


def test_the_plan_itself():
    assert said(solve(), "The robot runs") == (
        "The robot runs segments 1 to 1 of 3 (S3) and sends 10 kB as uint8; box runs the rest (S3) "
        "in fp32."
    )


def test_the_bottleneck():
    # 10 + 10 + 16 = 36 ms.
    assert said(solve(), "The server is the bottleneck") == (
        "The server is the bottleneck: 16 ms of 36 ms; the robot 10 ms, the link 10 ms."
    )
    # At 1 Mbit/s cut 2 wins: 30 + 16 + 10.
    slow = solve(links=(LinkSpec(1e6),))
    assert said(slow, "The robot is the bottleneck").startswith(
        "The robot is the bottleneck: 30 ms of 56 ms; the link 16 ms"
    )
    # Cut 0 alone: the link's line names bytes, rate and delay.
    frame = tables(head_s=np.full((4, 2, 1), [[np.nan], [np.nan]]))
    frame.head_s[0] = 0.0
    late = solve(frame, links=(LinkSpec(8e6, delay_s=0.013, downlink_delay_s=0.002),))
    assert said(late, "The link is the bottleneck") == (
        "The link is the bottleneck: 115 ms of 135 ms (100 kB at 8 Mbit/s and 15 ms delay "
        "both ways); the server 20 ms."
    )


def test_a_pipeline_goes_at_the_pace_of_its_slowest_stage():
    fast = solve(objective=Objective.THROUGHPUT)
    assert said(fast, "The server is the bottleneck") == (
        "The server is the bottleneck and sets the pace: 16 ms a frame, 62.5 frames/s; the robot "
        "10 ms, the link 10 ms."
    )
    # The next best split is paced by the robot's 30 ms.
    assert said(fast, "The next best split").endswith(
        "would take 14 ms more a frame: the robot needs 30 ms instead of 10 ms."
    )


def test_what_the_other_ways_cost():
    solution = solve()
    # 100 - 36; the robot 100 instead of 10.
    assert said(solution, "Keeping all") == (
        "Keeping all on the robot would take 64 ms more a frame: the robot needs 100 ms instead of "
        "10 ms, but save 1 point of accuracy."
    )
    # 120 - 36.
    assert said(solution, "Sending the frame as raw (100 kB) would take 84 ms more")
    # 42 - 36: the robot's 20 ms more is what counts.
    assert said(solution, "The next best split") == (
        "The next best split, cut 2 (S3, uint8), would take 6 ms more a frame: the robot needs "
        "30 ms instead of 10 ms."
    )


def test_a_robot_without_a_server():
    lines = explain_plan(solve(alone(), links=()))
    assert lines[0] == ("The robot runs the whole network (S3) in fp32, for there is no server.")
    assert lines[1] == "The robot is the bottleneck: 100 ms of 100 ms."
    assert not any("link" in line or "Sending" in line for line in lines)


def test_another_link():
    # Twice the rate: cut 1 uint8 10 + 5 + 16; half: cut 2 uint8 30 + 4 + 10 beats 10 + 20 + 16.
    assert said(solve(), "With the link twice") == (
        "With the link twice as fast, the plan stays, at 31 ms a frame."
    )
    assert said(solve(), "With the link half") == (
        "With the link half as fast, the plan would be cut 2 (S3, uint8), at 44 ms a frame."
    )
    tight = solve(limits=Limits(deadline_s=0.036))
    assert said(tight, "With the link half").endswith("no plan would keep the limits.")


def test_accuracy():
    assert said(solve(), "The plan loses") == (
        "The plan loses 1 point of accuracy; what a plan loses did not count (lambda_1 is 0)."
    )
    # 36 + 10 still beats 48.
    assert said(solve(lambda_1=1.0), "The plan loses") == (
        "The plan loses 1 point of accuracy; a point counts as 10 ms, and without that the plan "
        "would be the same."
    )
    # 36 + 20 does not.
    assert said(solve(lambda_1=2.0), "The plan loses") == (
        "The plan loses no accuracy; a point counts as 20 ms, else it would be cut 1 (S3, uint8): "
        "that would take 12 ms less a frame: the robot needs 10 ms instead of 30 ms, but lose 1 "
        "point of accuracy, worth 20 ms."
    )


def test_limits():
    kept = solve(limits=Limits(deadline_s=0.05))
    assert said(kept, "The limits change nothing")
    assert said(kept, "Keeping all") == (
        "Keeping all on the robot is not offered: the deadline of 50 ms is missed by 50 ms."
    )
    exact = solve(limits=Limits(accuracy_loss=0.005))
    assert said(exact, "Without the limits") == (
        "Without the limits the plan would be cut 1 (S3, uint8), which would take 12 ms less a "
        "frame: the robot needs 10 ms instead of 30 ms, but lose 1 point of accuracy; with it the "
        "accuracy loss limit of 0.5 points is missed by 0.5 points."
    )


def test_a_cut_that_keeps_each_limit_but_not_all():
    # Cut 1 alone as raw (66 ms, no loss) or uint8 (36 ms, a point); cut 2 raw wins with 48 ms.
    solution = solve(frame_codecs=("uint8",), limits=Limits(deadline_s=0.05, accuracy_loss=0.005))
    assert solution.best.candidate.cut == 2
    assert "not known" in said(solution, "Sending the frame is not offered")
    made = tables()
    made.payload_bytes[0] = made.payload_bytes[1]
    made.encode_s[0] = made.decode_s[0, 0] = 0.0
    # The frame: raw 40 + 20, uint8 10 + 20.
    solution = solve(made, limits=Limits(deadline_s=0.05, accuracy_loss=0.005))
    assert said(solution, "Sending the frame").endswith("alone, but not all of them at once.")


def test_a_peers_plan_is_compared_with_the_best():
    solution = solve()
    peer = replace(solution, best=solution.server_only)
    assert said(peer, "The best plan by this cost model") == (
        "The best plan by this cost model, cut 1 (S3, uint8), would take 84 ms less a frame: the "
        "link needs 10 ms instead of 100 ms, but lose 1 point of accuracy."
    )
    assert not any(line.startswith("With the link") for line in explain_plan(peer))


def test_what_bounds_each_half():
    devices = {"robot": ROBOT, "servers": {"box": SERVER}}
    solution = solve()
    # 4 FLOP/byte: below the paper's 60 / 10 of the robot, above the 20 / 10 of its fp32 peak.
    assert said(solution, "The robot's part", **devices) == (
        "The robot's part does 0.04 GFLOP and moves 10 MB of memory, 4 FLOP/byte: below the 6 of "
        "small, so its memory bandwidth is the limit (Eq. 2); that is with the paper's peak, with "
        "its fp32 peak (ridge 2) its arithmetic is the limit."
    )
    # 320e6 / 20e6 = 16 of 10.
    assert said(solution, "The server's part", **devices) == (
        "The server's part does 0.32 GFLOP and moves 20 MB of memory, 16 FLOP/byte: at or above "
        "the 10 of large, so its arithmetic is the limit (Eq. 4)."
    )
    uncounted = solve(tables(segment_flops=None, segment_bytes=None))
    assert not any("FLOP" in line for line in explain_plan(uncounted, **devices))
    assert not any("FLOP" in line for line in explain_plan(solution))
    without_fp32 = DeviceSpec("odd", {"int8": 1e12}, 1e10, paper_peak_flops=6e10)
    line = said(solution, "The robot's part", robot=without_fp32)
    assert line.endswith("the limit (Eq. 2).")


def test_notes_come_last():
    noted = tables(notes=("codec jpeg was not measured", "and so on"))
    assert explain_plan(solve(noted))[-2:] == [
        "Note: codec jpeg was not measured.",
        "Note: and so on.",
    ]


def test_choices_are_named_as_far_as_they_were_open():
    full = tables()
    axes = replace(full.axes, precisions=("fp32", "int8-tensor"), servers=("a", "b"))
    shape = {
        "axes": axes,
        "head_s": np.repeat(full.head_s, 2, axis=2),
        "tail_s": np.repeat(np.repeat(full.tail_s, 2, axis=3), 2, axis=0),
        "decode_s": np.repeat(full.decode_s, 2, axis=0),
        "structure_loss": np.repeat(full.structure_loss, 2, axis=2),
        "codec_loss": np.repeat(full.codec_loss, 2, axis=2),
    }
    wide = Problem(tables(**shape), (LINK, LINK))
    narrow = Problem(full, (LINK,))
    cut = Candidate(1, SS, S3, Merge.PRUNE, "fp32", "raw", "b")
    assert choice_words(cut, wide) == "cut 1 (S3+Ss then S3, raw, prune, fp32, by b)"
    assert choice_words(cut, narrow) == "cut 1 (S3+Ss then S3, raw, prune)"
    frame = Candidate(0, S3, S3, Merge.FOLD, "fp32", "raw", "box")
    assert choice_words(frame, narrow) == "cut 0 (the frame as raw, S3)"
    whole = Candidate(3, S3, S3, Merge.FOLD, "fp32", "raw")
    assert choice_words(whole, wide) == "cut 3 (all on the robot, S3, fp32)"


def test_work_of_a_half():
    assert work(tables(), SS, 1, 3) == (4.3e8, 4e7)
    with pytest.raises(ValueError, match="no operations"):
        work(tables(segment_flops=None), S3, 0, 3)


def test_amounts():
    assert [ms(0.0617), ms(0.1083), ms(0.00049)] == ["61.7 ms", "108 ms", "0.49 ms"]
    assert [points(0.0123), points(0.01), points(0.0)] == ["1.23 points", "1 point", "0 points"]
    assert [data_size(n) for n in (61_700, 512, 2.5e6, 3e9)] == [
        "61.7 kB",
        "512 bytes",
        "2.5 MB",
        "3 GB",
    ]
    assert [link_rate(b) for b in (1e7, 107.4e6, 2e9, 64e3, 300)] == [
        "10 Mbit/s",
        "107.4 Mbit/s",
        "2 Gbit/s",
        "64 kbit/s",
        "300 bit/s",
    ]
