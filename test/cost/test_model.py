"""The three modes with numbers worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest

from codesign_ros.cost.accuracy import AccuracyTable
from codesign_ros.cost.accuracy_row import AccuracyRow
from codesign_ros.cost.half_times import HalfTimes
from codesign_ros.cost.model import analytic_tables, measured_tables
from codesign_ros.cost.profile import NetworkProfile
from codesign_ros.cost.roofline import RooflineMode
from codesign_ros.cost.tables import Axes
from codesign_ros.planning.grid import grid
from codesign_ros.planning.problem import Candidate, Problem
from codesign_ros.types.devices import DeviceSpec
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import BRANCH_STRUCTURES, HalfForm, Merge, Structure
from codesign_ros.types.links import LinkSpec
from codesign_ros.types.tensors import TensorSpec
from support.planning import price

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
    segment_flops={
        s: (6000, 3000, 1000) if s is S3 else (12000, 6000, 2000) for s in BRANCH_STRUCTURES
    },
    segment_bytes={s: (200, 400, 400) if s is S3 else (300, 600, 600) for s in BRANCH_STRUCTURES},
    segment_weights={s: (40, 80, 20) if s is S3 else (60, 120, 30) for s in BRANCH_STRUCTURES},
    segment_activations=dict.fromkeys(BRANCH_STRUCTURES, (160, 96, 24)),
)
ROBOT = DeviceSpec("robot", peak_flops={"fp32": 1000.0}, memory_bandwidth=100.0, utilisation=0.5)
SERVER = DeviceSpec("server", peak_flops={"fp32": 10000.0}, memory_bandwidth=400.0)

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


CODECS = ("fp16", "jpeg", "raw", "uint4", "uint8", "uint8+zstd")
AXES = Axes(BRANCH_STRUCTURES, (FOLD, PRUNE), ("fp32", "int8-channel"), CODECS, ("server",))


class Costs:
    """Asks the tables by name; None = not known."""

    def __init__(self, tables):
        self.tables = tables

    def _known(self, value):
        return None if np.isnan(value) else pytest.approx(value, abs=1e-15)

    def head_s(self, cut, structure, codec, precision="fp32"):
        s, p, k = self._at(structure, precision, codec)
        return self._known(self.tables.head_s[cut, s, p] + self.tables.encode_s[cut, k])

    def tail_s(self, cut, structure, codec, precision="fp32"):
        s, p, k = self._at(structure, precision, codec)
        return self._known(self.tables.tail_s[0, cut, s, p] + self.tables.decode_s[0, cut, k])

    def payload_bytes(self, cut, codec):
        return self._known(self.tables.payload_bytes[cut, CODECS.index(codec)])

    def accuracy_loss(self, cut, head, tail, merge, precision, codec):
        h, p, k = self._at(head, precision, codec)
        t, m = AXES.structures.index(tail), AXES.merges.index(merge)
        share = self.tables.load_fraction[cut]
        by_half = self.tables.structure_loss
        return self._known(
            share * by_half[h, m, p]
            + (1 - share) * by_half[t, m, p]
            + self.tables.codec_loss[cut, k, p, m]
        )

    def _at(self, structure, precision, codec):
        return (
            AXES.structures.index(structure),
            AXES.precisions.index(precision),
            CODECS.index(codec),
        )


def analytic(mode=RooflineMode.PAPER, robot=ROBOT, **kwargs):
    return Costs(analytic_tables(PROFILE, robot, [SERVER], mode, AXES, **kwargs))


def test_paper_mode_by_hand():
    cost = analytic()
    # Eq. 8 at cut 1 with S3 before and S3+S1 behind. Head: C = 6000, M = 200, I = 30;
    # 6000 / (0.5 * 30 * 100) = 4 s. Tail: C = 8000, M = 1200, I = 6.667; 8000 / (I * 400) = 3 s.
    assert cost.head_s(1, S3, "raw") == 4.0
    assert cost.tail_s(1, S1, "raw") == 3.0


def test_roofline_mode_by_hand():
    cost = analytic(RooflineMode.ROOFLINE)
    # I * beta = 3000 is above the robot's peak of 1000: 6000 / (0.5 * 1000) = 12 s.
    assert cost.head_s(1, S3, "raw") == 12.0
    assert cost.tail_s(1, S1, "raw") == 3.0


def test_int8_by_hand():
    robot = replace(ROBOT, peak_flops={"fp32": 1000.0, "int8": 4000.0})
    cost = analytic(RooflineMode.ROOFLINE, robot)
    # A quarter of the bytes: I = 6000 / 50 = 120, I * beta = 12000 > 4000; 6000 / (0.5 * 4000).
    assert cost.head_s(1, S3, "raw", "int8-channel") == 3.0
    # The server has no int8 peak.
    assert cost.tail_s(1, S3, "raw", "int8-channel") is None
    assert any(note.startswith("server has no peak for int8-channel") for note in cost.tables.notes)
    # Eq. 5-6 know nothing of precision.
    assert analytic(robot=robot).head_s(1, S3, "raw", "int8-channel") is None


def test_empty_halves_take_no_time():
    cost = analytic()
    assert cost.tables.segments == 3
    assert cost.head_s(0, S3, "raw") == 0.0
    assert cost.tail_s(3, S3, "raw") == 0.0


def test_no_server():
    tables = analytic_tables(PROFILE, ROBOT, [], RooflineMode.PAPER, replace(AXES, servers=()))
    assert tables.tail_s.shape == (0, 4, len(AXES.structures), 2)
    assert tables.decode_s.shape == (0, 4, len(CODECS))


def test_payloads():
    cost = analytic(measured_bytes={(0, "jpeg"): 50.0, (1, "uint8"): 11.0})
    assert cost.payload_bytes(0, "raw") == 72
    assert cost.payload_bytes(0, "jpeg") == 50
    assert cost.payload_bytes(1, "raw") == 192
    assert cost.payload_bytes(1, "uint4") == 24 + 16
    assert cost.payload_bytes(1, "uint8") == 11
    assert cost.payload_bytes(1, "uint8+zstd") is None
    assert cost.payload_bytes(1, "jpeg") is None
    assert cost.payload_bytes(3, "raw") == 0
    assert cost.payload_bytes(3, "fp16") is None


def test_accuracy_loss_by_hand():
    cost = analytic(accuracy=TABLE)
    # lambda = 6000 / 10000 at cut 1; head S3 loses 0.5, tail S3+S1 loses 0.1.
    assert cost.accuracy_loss(1, S3, S1, PRUNE, "fp32", "raw") == 0.34
    assert cost.accuracy_loss(0, S3, S1, PRUNE, "fp32", "raw") == 0.1
    assert cost.accuracy_loss(3, S3, S1, PRUNE, "fp32", "raw") == 0.5
    assert cost.accuracy_loss(1, S3, S3, FOLD, "fp32", "uint4") == 0.03
    # Not measured, but exact.
    assert cost.accuracy_loss(1, FULL, S3, FOLD, "fp32", "raw") == 0.0
    assert cost.accuracy_loss(1, FULL, S3, PRUNE, "fp32", "raw") is None
    assert cost.accuracy_loss(1, S3, S3, FOLD, "int8-channel", "raw") is None
    assert cost.accuracy_loss(2, S3, S3, FOLD, "fp32", "uint4") is None


def test_with_nothing_measured_only_what_is_exact_is_offered():
    for table in (None, AccuracyTable("map50", 0.9, "data", ())):
        cost = analytic(accuracy=table)
        assert cost.accuracy_loss(2, S3, FULL, FOLD, "fp32", "raw") == 0.0
        assert cost.accuracy_loss(2, S3, FULL, FOLD, "fp32", "uint4") is None
        assert cost.accuracy_loss(0, S3, S3, FOLD, "fp32", "jpeg") is None
        assert cost.accuracy_loss(2, S3, FULL, PRUNE, "fp32", "raw") is None
        assert cost.accuracy_loss(2, S3, FULL, FOLD, "int8-channel", "raw") is None
        assert any("uint4" in note for note in cost.tables.notes)


HEAD = HalfTimes(
    half_s={
        HalfForm(0): 0.01,
        HalfForm(1): 0.05,
        HalfForm(1, S1): 0.07,
        HalfForm(1, S3, FOLD, "int8-channel"): 0.03,
        HalfForm(2): 0.2,
        HalfForm(3): 0.11,
    },
    codec_s={(0, "jpeg"): 0.002, (1, "uint8"): 0.001, (2, "uint8"): 0.001},
    codec_bytes={(0, "jpeg"): 900.0, (1, "uint8"): 80.0},
)
TAIL = HalfTimes(
    half_s={HalfForm(0): 0.02, HalfForm(0, S1): 0.03, HalfForm(1): 0.015},
    codec_s={(0, "jpeg"): 0.004, (1, "uint8"): 0.0005},
)


def measured(**kwargs):
    return Costs(measured_tables(3, HEAD, [TAIL], AXES, TABLE, **kwargs))


def test_measured_times_include_coding():
    cost = measured()
    assert cost.head_s(1, S1, "uint8") == 0.071
    assert cost.head_s(1, S3, "uint8", "int8-channel") == 0.031
    assert cost.tail_s(1, S3, "uint8") == 0.0155
    # At cut 0 the head prepares and encodes the frame, whatever its structure.
    assert cost.head_s(0, S1, "jpeg") == 0.012
    assert cost.tail_s(0, S1, "jpeg") == 0.034
    # At cut N nothing is encoded.
    assert cost.head_s(3, S3, "raw") == 0.11


def test_payloads_go_by_the_precision():
    half = replace(HEAD, payload_scale={(1, "uint8", "int8-channel"): 0.5})
    tables = measured_tables(3, half, [TAIL], AXES, TABLE)
    problem = Problem(tables, (LinkSpec(640.0),))
    for precision, payload_bytes in (("fp32", 80.0), ("int8-channel", 40.0)):
        prediction = price(problem, Candidate(1, S3, S3, FOLD, precision, "uint8", "server"))
        assert prediction.prediction.payload_bytes == payload_bytes
        assert prediction.prediction.link_s == 8 * payload_bytes / 640.0


def test_what_was_not_measured_is_not_known():
    cost = measured()
    assert cost.head_s(1, FULL, "uint8") is None
    assert cost.head_s(1, S3, "fp16") is None
    assert cost.tail_s(2, S3, "uint8") is None
    assert cost.payload_bytes(1, "raw") is None


def test_measured_load_is_the_share_of_time():
    cost = measured()
    # (0.05 - 0.01) / (0.11 - 0.01) = 0.4 of the load is before cut 1: 0.4 * 0.5 + 0.6 * 0.1.
    assert cost.accuracy_loss(1, S3, S1, PRUNE, "fp32", "raw") == 0.26
    # A head that was timed above the whole network (noise) counts as all of it.
    assert cost.accuracy_loss(2, S3, S1, PRUNE, "fp32", "raw") == 0.5
    assert cost.accuracy_loss(0, S3, S1, PRUNE, "fp32", "raw") == 0.1


def test_the_whole_network_on_the_robot_must_be_measured():
    with pytest.raises(CodesignError, match=r"cut 3, S3"):
        measured_tables(3, HalfTimes({HalfForm(2): 1.0}), [TAIL], AXES)


def test_a_frame_that_can_go_as_it_is_costs_the_head_nothing():
    encoded, forwarded = measured(), measured(sendable_bytes=400.0)
    assert encoded.payload_bytes(0, "jpeg") == 900
    assert encoded.accuracy_loss(0, S3, S3, FOLD, "fp32", "jpeg") is None
    assert forwarded.head_s(0, S3, "jpeg") == 0
    assert forwarded.payload_bytes(0, "jpeg") == 400
    assert forwarded.tail_s(0, S3, "jpeg") == 0.024
    assert forwarded.accuracy_loss(0, S3, S3, FOLD, "fp32", "jpeg") == 0


def test_a_camera_s_jpeg_is_encoded_anew_where_that_pays():
    """Whether it does, follows from what is sent and lost: 400 bytes as they are, or 100."""
    axes = Axes((S3,), (FOLD,), ("fp32",), ("jpeg", "jpeg444.50", "raw"), ("server",))
    head = replace(
        HEAD,
        codec_s={(0, "jpeg"): 0.002, (0, "jpeg444.50"): 0.003},
        codec_bytes={(0, "jpeg"): 300.0, (0, "jpeg444.50"): 100.0},
    )
    tail = replace(TAIL, codec_s={(0, "jpeg"): 0.004, (0, "jpeg444.50"): 0.005})
    sent = {None: ("raw", 0.9), "jpeg": ("jpeg", 0.86), "anew": ("jpeg+jpeg444.50", 0.85)}
    rows = [
        AccuracyRow(FOLD, S3, S3, "fp32", codec, None if key is None else 0, value)
        for key, (codec, value) in sent.items()
    ]
    table = AccuracyTable("map50", 0.9, "frames", tuple(rows))
    tables = measured_tables(3, head, [tail], axes, table, sendable_bytes=400.0)
    # It is decoded and letterboxed, as any frame, and then encoded.
    np.testing.assert_allclose(tables.encode_s[0, :2], [0.0, 0.013])
    np.testing.assert_allclose(tables.payload_bytes[0, :2], [400.0, 100.0])
    np.testing.assert_allclose(tables.codec_loss[0, :2, 0, 0], [0.0, 0.01])
    for rate_bps, lambda_1, codec in (
        (8e4, 0.0, "jpeg444.50"), (8e5, 0.0, "jpeg"), (8e4, 1.0, "jpeg444.50"), (8e4, 2.0, "jpeg"),
    ):  # fmt: skip
        problem = Problem(tables, (LinkSpec(rate_bps, 0.0),), lambda_1=lambda_1)
        best = grid(problem).best.candidate
        assert (best.cut, best.codec) == (0, codec)
    # What was measured on frames alone is not offered for a camera's JPEGs.
    on_frames = replace(table, rows=(*rows[:2], replace(rows[2], codec="jpeg444.50")))
    tables = measured_tables(3, head, [tail], axes, on_frames, sendable_bytes=400.0)
    np.testing.assert_allclose(tables.codec_loss[0, :2, 0, 0], [0.0, np.nan])
    tables = measured_tables(3, head, [tail], axes, on_frames)
    np.testing.assert_allclose(tables.codec_loss[0, :2, 0, 0], [0.04, 0.05])


def test_the_whole_of_eq_8_and_11_by_hand():
    problem = Problem(analytic(accuracy=TABLE).tables, (LinkSpec(96.0, 0.25),), lambda_1=10.0)
    # T1 = 4 s, T2 = 3 s (above), T3 = 8 * 192 / 96 = 16 s, without the delay that Eq. 7 does not
    # know; the loss is 0.34.
    row = price(problem, Candidate(1, S3, S1, PRUNE, "fp32", "raw", "server"))
    assert row.prediction.latency_s == pytest.approx(23.0)
    assert row.prediction.objective == pytest.approx(23.0 + 3.4)
    assert row.prediction.throughput_fps == pytest.approx(1 / 16)
