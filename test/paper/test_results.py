"""Table IV and its neighbours on a network of two segments, against sums and draws made by hand."""

import itertools
import json
import math
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from codesign_ros.cli import reproduce
from codesign_ros.cli.main import main
from codesign_ros.cost.profile import NetworkProfile, profile_network
from codesign_ros.models.graph.importing import import_network
from codesign_ros.models.zoo import rep
from codesign_ros.paper.results import networks
from codesign_ros.paper.results.checks import additive_r2, checks
from codesign_ros.paper.results.fig5 import fig5
from codesign_ros.paper.results.fig7 import fig7
from codesign_ros.paper.results.fitting import CELLS, Cell, fit, null_fps, printed_fps
from codesign_ros.paper.results.networks import Subject, profile_subject, subjects
from codesign_ros.paper.results.prediction import Bench, method_fps
from codesign_ros.paper.results.printed import (
    METHODS,
    MODELS,
    OURS,
    ROOFSPLIT,
    SIDD,
    TABLE_4,
    TABLE_7,
    WO_DYNAMIC,
    WO_MULTI,
    WO_ROOFLINE,
)
from codesign_ros.paper.results.sheet import Sheet
from codesign_ros.paper.results.stages import ACCOUNTINGS, READINGS, S3, Free, Stages, stages_of
from codesign_ros.paper.results.table4 import table4
from codesign_ros.paper.results.table7 import link_arithmetic, table7
from codesign_ros.planning.objective import Objective
from codesign_ros.planning.policies import POLICIES
from codesign_ros.planning.policies.base import Situation
from codesign_ros.planning.problem import Problem
from codesign_ros.types.devices import DeviceSpec
from codesign_ros.types.forms import BRANCH_STRUCTURES, Structure
from codesign_ros.types.links import LinkSpec
from codesign_ros.types.tensors import InputSpec, TensorSpec

ROBOT = DeviceSpec("slow", {"fp32": 1e9, "fp16": 2e9}, 1e9, utilisation=0.5)
SERVER = DeviceSpec("fast", {"fp32": 1e10, "fp16": 2e10}, 4e9)
LINK = LinkSpec(8e6, delay_s=0.001)  # a kB takes 1 ms


def network(work=1.0, empty=()):
    """Segments of 2 and 8 MFLOP over 1 and 1 MB in S3; a structure beside it takes more of both.

    Those in ``empty`` come behind them and do next to nothing.
    """
    more = {s: 1.0 + 0.5 * i for i, s in enumerate(BRANCH_STRUCTURES)}
    assert more[Structure.S3] == 1.0

    def by_structure(*values):
        added = (1,) * len(empty)
        return {s: (*(round(work * v * f) for v in values), *added) for s, f in more.items()}

    return NetworkProfile(
        segment_names=("a", "b", *empty),
        crossings=(
            (TensorSpec("image", (10, 100, 3), "uint8"),),  # 3 kB
            (TensorSpec("a", (1, 500)),),  # 2 kB
            (TensorSpec("b", (1, 10)),),
            *((TensorSpec(name, (1, 10)),) for name in empty),
        ),
        segment_flops=by_structure(2e6, 8e6),
        segment_bytes=by_structure(1e6, 1e6),
        segment_weights=dict.fromkeys(BRANCH_STRUCTURES, (0,) * (2 + len(empty))),
        segment_activations=dict.fromkeys(BRANCH_STRUCTURES, (0,) * (2 + len(empty))),
    )


def detector():
    """Like it, with the last two segments of a detector."""
    return network(10, empty=("detect", "boxes"))


@pytest.fixture(scope="module")
def bench():
    """A network of its own for each model and size of image."""
    sizes = {subject: 1.0 + subject.side / 224 for subject in subjects()}
    robots = {"slow": ROBOT, "faster": DeviceSpec("faster", {"fp32": 3e9, "fp16": 6e9}, 3e9)}
    return Bench({s: network(size) for s, size in sizes.items()}, robots, SERVER, LINK)


def test_stages_by_hand():
    stages = stages_of(network(), ROBOT, SERVER, LINK, "paper", "float32")
    # At full use: the robot's utilisation does not count.
    np.testing.assert_allclose(stages.head_s[:, S3], [0, 1e-3, 2e-3])
    np.testing.assert_allclose(stages.tail_s[:, S3], [0.5e-3, 0.25e-3, 0])
    np.testing.assert_allclose(stages.link_s, [3e-3, 2e-3, 0])
    np.testing.assert_allclose(stages.delay_s, [2e-3, 2e-3, 0])
    # 500 numbers of a byte each, and their scale and offset.
    eight_bit = stages_of(network(), ROBOT, SERVER, LINK, "paper", "8 bit")
    np.testing.assert_allclose(eight_bit.link_s, [3e-3, 0.508e-3, 0])
    # Half the bytes, twice the peak: beyond the ridge it is the peak that counts.
    fp16 = stages_of(network(), ROBOT, SERVER, LINK, "roofline fp16", "float32")
    np.testing.assert_allclose(fp16.head_s[:, S3], [0, 1e-3, 5e-3])


def test_periods_by_hand():
    stages = stages_of(network(), ROBOT, SERVER, LINK, "paper", "float32")
    free = Free(0.01, 4.0, 2.0)
    for reading, at_cut_1_ms in (
        ("pipeline", 10 + 4),
        ("one at a time", 10 + 4 + 2 + 2 + 0.5),
        ("sending free", 10 + 4),
    ):
        period_s = stages.period_s(reading, free)[1, S3, S3]
        assert 1e3 * period_s == pytest.approx(at_cut_1_ms), reading


times_s = st.floats(1e-4, 1.0)


@given(
    st.lists(st.tuples(times_s, times_s), min_size=4, max_size=4),
    st.lists(times_s, min_size=3, max_size=3),
    st.sampled_from(sorted(READINGS)),
    st.tuples(st.floats(0, 0.1), st.floats(1, 50), st.floats(1, 50)),
)
def test_methods_against_all_choices(heads, link, reading, free):
    # T1 grows with the cut and T2 falls; structures in any order.
    head_s = np.array([[0.0] * 4, [a for a, _ in heads], [a + b for a, b in heads]])
    tail_s = head_s[::-1]
    link_s = np.array([*link[:2], 0.0])
    stages = Stages(head_s, link_s, np.zeros(3), tail_s)
    free = Free(*free)

    def period_s(cut, h, t):
        parts = free.robot * head_s[cut, h], link_s[cut], free.server * tail_s[cut, t]
        of = {
            "pipeline": max(parts),
            "one at a time": sum(parts),
            "sending free": max(parts[0], parts[2]),
        }
        return free.base_s + of[reading]

    def best_drawn(h, t):
        return min(period_s(0, t, t), period_s(1, h, t), period_s(2, h, h))

    pairs = list(itertools.product(range(4), repeat=2))
    found = method_fps(stages, reading, free, 1)
    expected_s = {
        OURS: min(best_drawn(h, t) for h, t in pairs),
        ROOFSPLIT: period_s(1, S3, S3),
        WO_ROOFLINE: min(period_s(0, t, t) for t in range(4)),
        WO_DYNAMIC: statistics.geometric_mean(best_drawn(h, t) for h, t in pairs),
        WO_MULTI: statistics.geometric_mean(period_s(0, t, t) for t in range(4)),
    }
    for method, expected in expected_s.items():
        assert 1 / found[method] == pytest.approx(expected), method
    assert found[OURS] >= max(found.values()) * (1 - 1e-9)


def test_methods_are_those_of_the_policies(bench):
    """One pipeline without a fit: what the policies of the planner choose and predict."""
    from codesign_ros.paper.results.stages import tables_of

    robot = DeviceSpec("slow", ROBOT.peak_flops, ROBOT.memory_bandwidth)
    tables = tables_of(network(), robot, SERVER, "roofline fp32", "float32")
    problem = Problem(tables, (LINK,), objective=Objective.THROUGHPUT)
    situation = Situation(problem, robot, SERVER)
    stages = stages_of(network(), robot, SERVER, LINK, "roofline fp32", "float32")
    found = method_fps(stages, "pipeline", Free(), 1)
    for method, policy in (
        (OURS, "ours"),
        (ROOFSPLIT, "roofsplit"),
        (WO_ROOFLINE, "wo_roofline"),
    ):
        assert found[method] == pytest.approx(POLICIES[policy].decide(situation).throughput_fps)


@settings(max_examples=30)
@given(
    st.lists(st.tuples(times_s, times_s, times_s), min_size=9, max_size=9),
    st.sampled_from(sorted(READINGS)),
    st.tuples(st.floats(0, 0.01), st.floats(1, 100), st.floats(1, 100)),
)
def test_the_fit_is_at_least_as_good_as_what_made_the_figures(times, reading, free):
    base_s, robot, server = free
    cells = [Cell(h, link, 0.0, t) for h, link, t in times]
    stages = [
        Stages(*(np.array(x) for x in ([[c.head_s]], [c.link_s], [0.0], [[c.tail_s]])))
        for c in cells
    ]
    made = [s.period_s(reading, Free(base_s, robot, server)).item() for s in stages]
    found = fit(cells, reading, 1 / np.array(made))
    off = [s.period_s(reading, found.free).item() / m for s, m in zip(stages, made, strict=True)]
    assert found.error == pytest.approx(statistics.fmean(abs(math.log(each)) for each in off))
    # A grid that narrows may end beside a valley, not far from it.
    assert found.error < 0.15


def test_the_null_model_is_the_geometric_mean_of_the_roofsplit_rows():
    assert null_fps()[0] == pytest.approx(statistics.geometric_mean([36.93, 34.26, 24.89]))
    assert null_fps()[2] == pytest.approx(statistics.geometric_mean([16.43, 15.37, 11.88]))


def test_no_row_but_roofsplits_moves_a_fit(bench, monkeypatch):
    before = table4(bench)
    other = {
        method: {model: row._replace(fps=(1.0, 2.0, 3.0)) for model, row in rows.items()}
        if method != ROOFSPLIT
        else rows
        for method, rows in TABLE_4.items()
    }
    for module in ("fitting", "table4"):
        monkeypatch.setattr(f"codesign_ros.paper.results.{module}.TABLE_4", other)
    fresh = Bench(bench.networks, bench.robots, bench.server, bench.link)
    after = table4(fresh)
    for a, b in zip(before["cells"], after["cells"], strict=True):
        assert a["ours_fps"] == b["ours_fps"]
        assert a["null_fps"] == b["null_fps"]


def test_table4_has_every_cell_and_its_errors(bench):
    content = table4(bench)
    assert len(content["cells"]) == len(METHODS) * 9
    assert content["accountings"] == len(ACCOUNTINGS) == 108
    fps = bench.predictions("slow")
    errors = [
        abs(math.log(fps[m][i].ravel()[c] / printed_fps(m)[c]))
        for i in range(108)
        for m in (OURS, WO_ROOFLINE, WO_DYNAMIC, WO_MULTI)
        for c in range(len(CELLS))
    ]
    of_fits = np.array(errors).reshape(108, 36).mean(axis=1)
    said = content["errors"]["mean_abs_log"]
    assert said["median"] == pytest.approx(np.median(of_fits))
    assert (said["least"], said["most"]) == pytest.approx((of_fits.min(), of_fits.max()))
    assert content["errors"]["better_than_null"] == (of_fits < said["null"]).sum()
    assert all(cell["ours_accuracy"] is None for cell in content["cells"])
    assert len(content["averages"]) == len(METHODS) * 3
    for average in content["averages"]:
        own = [c for c in content["cells"]
               if (c["method"], c["model"]) == (average["method"], average["model"])]  # fmt: skip
        six = [c["paper_fps"] for c in own] + [c["paper_accuracy"] for c in own]
        assert average["paper"] == pytest.approx(sum(six) / 6, abs=0.011)
        assert average["paper_of_throughput"] == pytest.approx(sum(six[:3]) / 6)
        three = fps[average["method"]][:, MODELS.index(average["model"])]
        assert average["ours_of_throughput"] == pytest.approx(np.median(three.mean(axis=1)) / 2)
        assert average["ours"] is None
    (gain,) = [g for g in content["gains"] if g["over"] == WO_DYNAMIC]
    assert gain["paper"] == pytest.approx(1.2222, abs=1e-3)


def test_fig5_and_fig7(bench):
    cells = {(c["what"], c["data_set"], c["method"]): c for c in fig5(bench)["cells"]}
    # 37.48 and 15.4 % more; 61.2 ms and 22.5 % less.
    assert cells["fps", "MNIST", OURS]["paper"] == pytest.approx(43.25, abs=0.01)
    assert cells["response_s", "MNIST", OURS]["paper"] == pytest.approx(0.0474, abs=1e-4)
    rows = fig7(bench)["cells"]
    assert len(rows) == 2 * 9
    assert all(row["paper_ratio"] is None for row in rows if row["robot"] == "faster")
    assert all(row["ratio_least"] >= 1 - 1e-9 for row in rows)


def test_table7_is_fitted_to_its_row_and_its_link_is_arithmetic():
    link = LinkSpec(107.4e6, delay_s=0.0065)
    content = table7({"tiny": detector()}, ROBOT, SERVER, link)
    cells = {cell["method"]: cell for cell in content["cells"]}
    assert content["fitted"] > 0
    fitted = cells[ROOFSPLIT]
    assert fitted["ours_least_fps"] == pytest.approx(TABLE_7[ROOFSPLIT].fps, rel=1e-5)
    assert fitted["ours_most_fps"] == pytest.approx(TABLE_7[ROOFSPLIT].fps, rel=1e-5)
    assert cells["cloud-edge"]["ours_fps"] is None
    told = link_arithmetic({"tiny": detector()}, link)
    assert told["frame_ms"] == pytest.approx(640 * 400 * 3 * 8 / 107.4e3)
    assert told["least_crossing_bytes"] == {"tiny": 40}
    assert told["left_ms"]["cloud"] == pytest.approx(81.97 - 57.21 - 13, abs=0.02)


def test_averages_show_that_the_tables_were_copied_right():
    found = {check.about: check for check in checks({"A0": network()}, ROBOT)}
    (averages,) = [c for about, c in found.items() if "Average" in about]
    assert "gives 23 of 23 rows" in averages.arithmetic
    (no_split,) = [c for about, c in found.items() if "leaves all on the server" in about]
    assert "slower in 8 of 9" in no_split.arithmetic


def test_additive_r2():
    rows, columns = (np.array(x) for x in zip(*itertools.product(range(4), range(3)), strict=True))
    values = 2.0 * rows + columns**2
    assert additive_r2(values, (rows, columns)) == pytest.approx(1.0)
    # Two levels, half of the variance: +1, -1 in each, and +1, -1 that no factor tells.
    a, b = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    assert additive_r2(1.0 * a + ((a + b) % 2), (a,)) == pytest.approx(0.5)


def test_the_number_of_classes_changes_the_last_layer_alone(monkeypatch):
    class Small(nn.Module):
        def __init__(self, classes):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3, padding=1)
            self.fc = nn.Linear(4 * 64, classes)

        def forward(self, x):
            return self.fc(self.conv(x).relu().flatten(1))

    monkeypatch.setattr(rep, "rep_resnet50", Small)
    graphs = {}
    profile_subject(Subject("Rep-ResNet-50", "", 10, 8), graphs)
    found = profile_subject(Subject("Rep-ResNet-50", "", 100, 8), graphs)
    assert len(graphs) == 1
    assert found == profile_network(import_network(Small(100), InputSpec(8, 8)).network)


def test_subjects_are_what_the_accountings_need():
    needed = {
        Subject.of(model, each.repvgg, d, each.sides)
        for each in ACCOUNTINGS
        for model in MODELS
        for d in range(3)
    }
    assert set(subjects()) == needed


@pytest.mark.parametrize("target", ["table4", "fig5", "fig6", "fig7", "table7", "checks"])
def test_commands(target, bench, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(reproduce, "paper_bench", lambda: bench)
    monkeypatch.setattr(networks, "profile_detector", lambda width: detector())
    monkeypatch.setattr(networks, "profile_subject", lambda subject, graphs: network())
    file = tmp_path / "out.json"
    assert main(["reproduce", target, "--json", str(file)]) == 0
    content = json.loads(file.read_text())
    said = capsys.readouterr().out
    assert content.get("cells") or content["checks"]
    if target not in ("fig6", "checks"):
        assert "SIMULATED" in said
        assert content["simulated"]
    assert main(["reproduce", target, "--json", str(tmp_path / "no" / "out.json")]) == 2


def test_a_sheet_as_markdown():
    sheet = Sheet("T", ("a",), ("b",), (("x", "1"),), "c")
    assert sheet.markdown() == "**T**\n\n| a | b |\n| --- | ---: |\n| x | 1 |\n\nc"


def test_sidd_is_a_bound(bench):
    content = table4(bench)
    assert all(cell["bound"] == (cell["method"] == SIDD) for cell in content["cells"])
