"""The three modes with numbers worked out by hand."""

from dataclasses import replace

import pytest

from codesign_ros.cost.accuracy import AccuracyRow, AccuracyTable
from codesign_ros.cost.measured import MeasuredStages
from codesign_ros.cost.model import AnalyticCost, MeasuredCost
from codesign_ros.cost.profile import NetworkProfile
from codesign_ros.cost.roofline import RooflineMode
from codesign_ros.types import CodesignError, DeviceSpec, Merge, Structure, TensorSpec

S3, S1, FULL = Structure.S3, Structure.S3_S1, Structure.S3_SS_S1
FOLD, PRUNE = Merge.FOLD, Merge.PRUNE

# Three segments; the other structures take twice the operations and 1.5 times the traffic of S3.
PROFILE = NetworkProfile(
    segment_names=("a", "b", "c"),
    crossings=(
        (TensorSpec("image", (4, 6, 3), "uint8"),),
        (TensorSpec("a", (1, 2, 4, 6)),),
        (TensorSpec("b", (1, 8)),),
        (TensorSpec("c", (1, 3)),),
    ),
    segment_flops={s: (6000, 3000, 1000) if s is S3 else (12000, 6000, 2000) for s in Structure},
    segment_bytes={s: (200, 400, 400) if s is S3 else (300, 600, 600) for s in Structure},
)
ROBOT = DeviceSpec("robot", peak_flops=1000.0, memory_bandwidth=100.0, utilisation=0.5)
SERVER = DeviceSpec("server", peak_flops=10000.0, memory_bandwidth=400.0)

TABLE = AccuracyTable(
    "accuracy",
    0.9,
    "data",
    (
        AccuracyRow(FOLD, S3, S3, "fp32", "raw", None, 0.9),
        AccuracyRow(PRUNE, S3, S3, "fp32", "raw", None, 0.4),
        AccuracyRow(PRUNE, S1, S1, "fp32", "raw", None, 0.8),
        AccuracyRow(FOLD, S3, S3, "fp32", "uint4", 1, 0.87),
    ),
)


def analytic(mode=RooflineMode.PAPER, **kwargs):
    return AnalyticCost(PROFILE, ROBOT, SERVER, mode, **kwargs)


def test_paper_mode_by_hand():
    cost = analytic()
    # Eq. 8 at cut 1 with S3 before and S3+S1 behind. Head: C = 6000, M = 200, I = 30;
    # 6000 / (0.5 * 30 * 100) = 4 s. Tail: C = 8000, M = 1200, I = 6.667; 8000 / (I * 400) = 3 s.
    assert cost.head_s(1, S3, "raw") == pytest.approx(4.0)
    assert cost.tail_s(1, S1, "raw") == pytest.approx(3.0)


def test_roofline_mode_by_hand():
    cost = analytic(RooflineMode.ROOFLINE)
    # I * beta = 3000 is above the robot's peak of 1000: 6000 / (0.5 * 1000) = 12 s.
    assert cost.head_s(1, S3, "raw") == pytest.approx(12.0)
    assert cost.tail_s(1, S1, "raw") == pytest.approx(3.0)


def test_empty_halves_take_no_time():
    cost = analytic()
    assert cost.segments == 3
    assert cost.head_s(0, S3, "jpeg") == 0.0
    assert cost.tail_s(3, S3, "raw") == 0.0


def test_no_server():
    cost = AnalyticCost(PROFILE, ROBOT, None, RooflineMode.PAPER)
    assert cost.tail_s(1, S3, "raw") is None


def test_payloads():
    cost = analytic(measured_bytes={(0, "jpeg"): 50.0, (1, "uint8"): 11.0})
    assert cost.payload_bytes(0, "raw") == 72
    assert cost.payload_bytes(0, "jpeg") == 50
    assert cost.payload_bytes(1, "raw") == 192
    assert cost.payload_bytes(1, "uint4") == 24 + 16
    assert cost.payload_bytes(1, "uint8") == 11
    assert cost.payload_bytes(1, "uint8+zstd") is None


def test_accuracy_loss_by_hand():
    cost = analytic(accuracy=TABLE)
    # lambda = 6000 / 10000 at cut 1; head S3 loses 0.5, tail S3+S1 loses 0.1.
    assert cost.accuracy_loss(1, S3, S1, PRUNE, "fp32", "raw") == pytest.approx(0.34)
    assert cost.accuracy_loss(0, S3, S1, PRUNE, "fp32", "raw") == pytest.approx(0.1)
    assert cost.accuracy_loss(3, S3, S1, PRUNE, "fp32", "raw") == pytest.approx(0.5)
    assert cost.accuracy_loss(1, S3, S3, FOLD, "fp32", "uint4") == pytest.approx(0.03)
    # Not measured, but exact.
    assert cost.accuracy_loss(1, FULL, S3, FOLD, "fp32", "raw") == 0.0
    assert cost.accuracy_loss(1, FULL, S3, PRUNE, "fp32", "raw") is None
    assert cost.accuracy_loss(1, S3, S3, FOLD, "int8-tensor", "raw") is None
    assert cost.accuracy_loss(2, S3, S3, FOLD, "fp32", "uint4") is None


def test_with_nothing_measured_time_alone_decides_between_codecs():
    for table in (None, AccuracyTable("map50", 0.9, "data", ())):
        cost = analytic(accuracy=table)
        assert cost.accuracy_loss(2, S3, FULL, FOLD, "fp32", "uint4") == 0.0
        assert cost.accuracy_loss(2, S3, FULL, PRUNE, "fp32", "raw") is None
        assert cost.accuracy_loss(2, S3, FULL, FOLD, "int8-channel", "raw") is None


def test_without_a_table_only_exact_folding_is_offered():
    cost = analytic()
    assert cost.accuracy_loss(1, S3, FULL, FOLD, "fp32", "raw") == 0.0
    assert cost.accuracy_loss(1, S3, FULL, PRUNE, "fp32", "raw") is None
    assert cost.accuracy_loss(1, S3, FULL, FOLD, "int8", "raw") is None


HEAD = MeasuredStages(
    stage_s={(0, S3): 0.01, (1, S3): 0.05, (1, S1): 0.07, (2, S3): 0.2, (3, S3): 0.11},
    codec_s={(0, "jpeg"): 0.002, (1, "uint8"): 0.001, (2, "uint8"): 0.001},
)
TAIL = MeasuredStages(
    stage_s={(0, S3): 0.02, (0, S1): 0.03, (1, S3): 0.015},
    codec_s={(0, "jpeg"): 0.004, (1, "uint8"): 0.0005},
)


def measured(tail=TAIL):
    return MeasuredCost(3, HEAD, tail, {(0, "jpeg"): 900.0, (1, "uint8"): 80.0}, TABLE)


def test_measured_times_include_coding():
    cost = measured()
    assert cost.head_s(1, S1, "uint8") == pytest.approx(0.071)
    assert cost.tail_s(1, S3, "uint8") == pytest.approx(0.0155)
    # At cut 0 the head prepares and encodes the frame, whatever its structure.
    assert cost.head_s(0, S1, "jpeg") == pytest.approx(0.012)
    assert cost.tail_s(0, S1, "jpeg") == pytest.approx(0.034)
    # At cut N nothing is encoded.
    assert cost.head_s(3, S3, "raw") == pytest.approx(0.11)


def test_other_precisions_have_the_time_that_was_measured_in_s3():
    head = replace(HEAD, precision_s={(0, "int8"): 0.01, (1, "int8"): 0.02, (3, "int8"): 0.03})
    tail = replace(TAIL, precision_s={(1, "int8"): 0.005})
    sizes = {(0, "jpeg"): 900.0, (1, "uint8"): 80.0}
    cost = MeasuredCost(3, head, tail, sizes, TABLE)
    assert cost.head_s(1, S3, "uint8", "int8") == pytest.approx(0.021)
    # S1 costs 7/5 of S3 in fp32.
    assert cost.head_s(1, S1, "uint8", "int8") == pytest.approx(0.02 * 7 / 5 + 0.001)
    assert cost.head_s(3, S3, "raw", "int8") == pytest.approx(0.03)
    assert cost.head_s(0, S3, "jpeg", "int8") == pytest.approx(0.012)
    assert cost.tail_s(1, S3, "uint8", "int8") == pytest.approx(0.0055)
    for unknown in (
        cost.head_s(2, S3, "uint8", "int8"),
        cost.tail_s(0, S3, "jpeg", "int8"),
        cost.head_s(1, S3, "uint8", "fp16"),
        cost.head_s(1, FULL, "uint8", "int8"),
    ):
        assert unknown is None


def test_the_roofline_knows_fp32_alone():
    assert analytic().head_s(1, S3, "raw", "fp32") is not None
    assert analytic().head_s(1, S3, "raw", "int8") is None
    assert analytic().tail_s(1, S3, "raw", "int8") is None


def test_what_was_not_measured_is_not_known():
    cost = measured()
    assert cost.head_s(1, FULL, "uint8") is None
    assert cost.head_s(1, S3, "fp16") is None
    assert cost.tail_s(2, S3, "uint8") is None
    assert cost.payload_bytes(1, "raw") is None
    assert measured(tail=None).tail_s(1, S3, "uint8") is None


def test_measured_load_is_the_share_of_time():
    cost = measured()
    # (0.05 - 0.01) / (0.11 - 0.01) = 0.4 of the load is before cut 1: 0.4 * 0.5 + 0.6 * 0.1.
    assert cost.accuracy_loss(1, S3, S1, PRUNE, "fp32", "raw") == pytest.approx(0.26)
    # A head that was timed above the whole network (noise) counts as all of it.
    assert cost.accuracy_loss(2, S3, S1, PRUNE, "fp32", "raw") == pytest.approx(0.5)
    assert cost.accuracy_loss(0, S3, S1, PRUNE, "fp32", "raw") == pytest.approx(0.1)


def test_the_whole_network_on_the_robot_must_be_measured():
    with pytest.raises(CodesignError, match=r"cut 3, S3"):
        MeasuredCost(3, MeasuredStages({(2, S3): 1.0}), TAIL, {})


def test_a_frame_that_can_go_as_it_is_costs_the_head_nothing():
    head, tail = (
        MeasuredStages(
            {(0, Structure.S3): 0.002, (1, Structure.S3): 0.010},
            {(0, "jpeg"): 0.003},
        ),
        MeasuredStages({(0, Structure.S3): 0.004}, {(0, "jpeg"): 0.001}),
    )
    encoded = MeasuredCost(1, head, tail, {(0, "jpeg"): 50_000})
    assert encoded.head_s(0, Structure.S3, "jpeg") == pytest.approx(0.005)
    assert encoded.payload_bytes(0, "jpeg") == 50_000
    forwarded = MeasuredCost(1, head, tail, {(0, "jpeg"): 50_000}, sendable_bytes=40_000)
    assert forwarded.head_s(0, Structure.S3, "jpeg") == 0
    assert forwarded.payload_bytes(0, "jpeg") == 40_000
    assert forwarded.tail_s(0, Structure.S3, "jpeg") == pytest.approx(0.005)
