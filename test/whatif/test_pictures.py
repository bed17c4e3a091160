"""What is drawn of a plan, against numbers made by hand; see ``tiny_plan``."""

import numpy as np
import pytest

from codesign_ros.planning.pareto import FrontPoint
from codesign_ros.types.devices import DeviceSpec
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import Structure
from codesign_ros.whatif.pictures import (
    plan_figure,
    throughput_by_cut,
    write_figure,
)
from support.tiny_plan import ROBOT, SERVER, SLOWER, alone, solve, tables

# ms of cut 0 raw, cut 1 uint8, cut 2 uint8, cut 3.
HEAD, LINK, TAIL = [0, 10, 30, 100], [100, 10, 2, 0], [20, 16, 10, 0]
BEST = solve().best
FRONT = [
    FrontPoint(BEST, 0.036, 0.01, (0.0, 1.2)),
    FrontPoint(BEST, 0.040, 0.008, None),
    FrontPoint(BEST, 0.048, 0.0, (1.2, float("inf"))),
]


def panel(figure, title):
    (found,) = [axes for axes in figure.axes if axes.get_title().startswith(title)]
    return found


def line(axes, label):
    (found,) = [each for each in axes.lines if str(each.get_label()).startswith(label)]
    return np.array(found.get_data(), float)


def test_panels_are_those_that_have_what_they_need():
    def titles(figure):
        return [axes.get_title() for axes in figure.axes if axes.get_title()]

    plain = ["Best plan of each cut", "Throughput at each split point"]
    assert titles(plan_figure(solve())) == plain
    assert titles(plan_figure(solve(), ROBOT, SERVER, FRONT)) == [
        "Rooflines, cut 1 of 3",
        *plain,
        "Pareto front",
    ]
    uncounted = solve(tables(segment_flops=None, segment_bytes=None))
    assert titles(plan_figure(uncounted, ROBOT, SERVER)) == plain
    figure = plan_figure(solve(), title="mine")
    assert figure.get_suptitle() == "mine (predicted, not run)"
    # Every axis says what it is, and in what unit where it has one.
    for axes in plan_figure(solve(), ROBOT, SERVER, FRONT).axes:
        assert axes.get_xlabel()
        assert "[" in axes.get_ylabel()


def test_latency_bars_stand_on_one_another():
    axes = panel(plan_figure(solve()), "Best plan")
    bars = [[(bar.get_y(), bar.get_height()) for bar in group] for group in axes.containers]
    bottoms, heights = np.moveaxis(np.array(bars), -1, 0)
    np.testing.assert_allclose(heights, [HEAD, LINK, TAIL], atol=1e-9)
    np.testing.assert_allclose(bottoms, np.cumsum([[0] * 4, HEAD, LINK], axis=0), atol=1e-9)
    np.testing.assert_allclose(line(axes, "the plan: 36 ms"), [[1], [36]])
    assert [text.get_text() for text in axes.get_xticklabels()] == [
        "0\n0 %",
        "1\n20 %",
        "2\n50 %",
        "3\n100 %",
    ]


def test_throughput_lines():
    axes = panel(plan_figure(solve()), "Throughput")
    slowest = np.max([HEAD, LINK, TAIL], axis=0)
    fps = 1e3 / slowest
    np.testing.assert_allclose(line(axes, "S3 in both"), [[0, 20, 50, 100], fps])
    np.testing.assert_allclose(line(axes, "any structures"), [[0, 20, 50, 100], fps])
    slower = 1e3 / np.max([np.multiply(HEAD, SLOWER), LINK, np.multiply(TAIL, SLOWER)], axis=0)
    np.testing.assert_allclose(line(axes, "S3+Ss in both")[1], slower)
    np.testing.assert_allclose(line(axes, "the plan: 62.5 frames/s"), [[20], [62.5]])


def test_a_robot_alone_has_one_cut():
    solution = solve(alone(), links=())
    np.testing.assert_allclose(throughput_by_cut(solution), [np.nan, np.nan, np.nan, 10.0])
    np.testing.assert_allclose(
        throughput_by_cut(solution, Structure.S3_SS), [np.nan, np.nan, np.nan, 10.0 / SLOWER]
    )
    figure = plan_figure(solution, ROBOT)
    assert len(panel(figure, "Best plan").containers[0]) == 1
    labels = [each.get_label() for each in panel(figure, "Rooflines").lines]
    assert not any("server" in label or "tail" in label for label in labels)


def test_rooflines():
    axes = panel(plan_figure(solve(), ROBOT, SERVER), "Rooflines")
    # The robot: 20 GFLOP/s in fp32 from 2 FLOP/byte on; the paper's 60 from 6 on.
    for label, beta, peak in (
        ("robot small, fp32 peak: ridge 2 ", 10.0, 20.0),
        ("robot small, the paper's peak: ridge 6 ", 10.0, 60.0),
        ("server large, fp32 peak: ridge 10 ", 40.0, 400.0),
    ):
        x, y = line(axes, label)
        np.testing.assert_allclose(y, np.minimum(peak, beta * x))
        assert x.min() < 2 < 16 < x.max()
        assert (peak / beta) in x
    # Head 40e6 / 10e6, whole 360e6 / 30e6, tail 320e6 / 20e6.
    np.testing.assert_allclose(line(axes, "$I_1$ head: 4 "), [[4], [20]])
    np.testing.assert_allclose(line(axes, "$I_0$ whole network: 12 ")[0], [12, 12])
    np.testing.assert_allclose(line(axes, "$I_2$ tail: 16 "), [[16], [400]])
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")


def test_a_device_without_an_fp32_peak_has_no_roof():
    odd = DeviceSpec("odd", {"int8": 1e12}, 1e10, paper_peak_flops=6e10)
    axes = panel(plan_figure(solve(), ROBOT, odd), "Rooflines")
    assert not any("odd" in each.get_label() for each in axes.lines)
    np.testing.assert_allclose(line(axes, "$I_2$ tail: 16 ")[0], [16, 16])


def test_front():
    axes = panel(plan_figure(solve(lambda_1=1.0), front=FRONT), "Pareto")
    np.testing.assert_allclose(line(axes, "some lambda_1"), [[36, 48], [1, 0]])
    np.testing.assert_allclose(line(axes, "no lambda_1"), [[40], [0.8]])
    np.testing.assert_allclose(line(axes, "the plan"), [[36], [1]])
    hull = [FRONT[0], FRONT[2]]
    axes = panel(plan_figure(solve(), front=hull), "Pareto")
    assert not any(each.get_label().startswith("no lambda_1") for each in axes.lines)


@pytest.mark.parametrize("name", ["plan.png", "plan.SVG", "plan.pdf"])
def test_files(tmp_path, name):
    write_figure(tmp_path / name, plan_figure(solve()))
    start = (tmp_path / name).read_bytes()[:64]
    kinds = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}
    assert start.startswith(kinds[name[-3:].lower()])


def test_bad_files(tmp_path):
    figure = plan_figure(solve())
    with pytest.raises(CodesignError, match=r"plan\.gif: its name must end in \.png or \.svg or"):
        write_figure(tmp_path / "plan.gif", figure)
    with pytest.raises(CodesignError, match=r"cannot write .*No such file"):
        write_figure(tmp_path / "nowhere" / "plan.png", figure)
