"""The benchmark of the cost model: what it draws and how it counts; the times are its own."""

import importlib.util
import json
import sys

import pytest

from codesign_ros.profiling import timer
from codesign_ros.types.forms import BRANCH_STRUCTURES, PRECISIONS
from codesign_ros.wire.codecs import codecs_for
from support.paths import ROOT

FOLDER = ROOT / "benchmarks" / "predicted_vs_measured"


@pytest.fixture(scope="module")
def benchmark_module():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)
        spec = importlib.util.spec_from_file_location(
            "predicted_vs_measured", FOLDER / "__main__.py"
        )
        module = importlib.util.module_from_spec(spec)
        patch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
        yield module


def test_plans_are_drawn_from_everything_and_again_the_same(benchmark_module, tiny_bundle):
    draw = benchmark_module.draw_plans
    plans = draw(tiny_bundle, 300, 3, PRECISIONS)
    assert plans == draw(tiny_bundle, 300, 3, PRECISIONS)
    assert len({*plans}) == 300
    last = len(tiny_bundle.segments)
    assert {plan.cut for plan in plans} == {*range(last + 1)}
    assert {plan.precision for plan in plans} == {*PRECISIONS}
    assert {plan.head_structure for plan in plans} == {*BRANCH_STRUCTURES}
    for plan in plans:
        if plan.cut < last:
            assert all(plan.codec in codecs_for(s) for s in tiny_bundle.crossings[plan.cut])


@pytest.mark.parametrize("how", [[], ["--interpolate", "5"]])
def test_every_plan_is_predicted_and_run(
    benchmark_module, tiny_bundle, engine_cache, tmp_path, monkeypatch, capsys, how
):
    monkeypatch.setattr(timer, "_ROUNDS", 1)
    monkeypatch.setattr("real_run._FRAMES_A_PASS", 1)
    monkeypatch.setenv("CODESIGN_CACHE_DIR", str(engine_cache))
    out = tmp_path / "out.json"
    arguments = ["--bundle", tiny_bundle.path, "--plans", 4, "--json", out, *how]
    monkeypatch.setattr(sys, "argv", ["benchmark", *map(str, arguments)])
    status = benchmark_module.main()
    content = json.loads(out.read_text())
    assert len(content["rows"]) == 4
    for row in content["rows"]:
        assert row["predicted_ms"] == pytest.approx(sum(row["predicted_parts_ms"].values()))
        assert row["error"] == pytest.approx(row["predicted_ms"] / row["measured_ms"] - 1)
        assert row["measured_ms"] > 0
    errors = sorted(abs(row["error"]) for row in content["rows"])
    assert content["worst_error"] == errors[-1]
    assert content["median_error"] == pytest.approx((errors[1] + errors[2]) / 2)
    good = content["median_error"] <= 0.05 and content["worst_error"] <= 0.15
    assert status == (0 if good else 1)
    assert "predicted ms" in capsys.readouterr().out
