"""The engines' code against the real bindings of each version of TensorRT.

The bindings' libraries are not there, so what they make is a strict stand-in for it, see
``strict_tensorrt``: nothing is asked of a version that it does not have. Only TensorRT for RTX is
there as a whole; it builds for real in the other tests of engines.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import types
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from codesign_ros.engines.tensorrt import library
from codesign_ros.engines.tensorrt.reports import Phases, failure, new_log
from codesign_ros.engines.tensorrt.settings import TensorRtSettings
from codesign_ros.engines.tensorrt.target import ANY_RTX, Gpu
from codesign_ros.engines.tensorrt.tensors import EngineTensor
from codesign_ros.engines.tensorrt.versions import Api, load_api
from codesign_ros.types.errors import CodesignError, one_line
from codesign_ros.types.forms import PRECISIONS
from support.paths import ROOT

BINDINGS = ROOT / "build" / "tensorrt_bindings"
VERSIONS = ("8.6.1", "10.13.0.35", "11.4.0.106")
RTX = "tensorrt-rtx"


def stub_libraries(bindings: Path, folder: Path) -> None:
    """Compile libraries that have every function the bindings want, each returning null."""
    library = next(bindings.glob("tensorrt_bindings/tensorrt*.so"))
    dynamic = subprocess.run(
        ["readelf", "--dynamic", library], check=True, capture_output=True, text=True
    ).stdout
    symbols = subprocess.run(
        ["nm", "--dynamic", "--undefined-only", library], check=True, capture_output=True, text=True
    ).stdout
    # Those of C++ and C have a version ("@GLIBC_2.4"); those of Python are there already.
    wanted = re.findall(r"^ +U (?!_?Py)([^@\n]+)$", symbols, re.MULTILINE)
    source = folder / "stub.c"
    source.write_text("".join(f"void *{name}(void) {{ return 0; }}\n" for name in wanted))
    stub = folder / "stub.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", stub, source], check=True)
    for name in re.findall(r"NEEDED.*\[(libnv[^\]]+)\]", dynamic):
        shutil.copy(stub, folder / name)


def reports_of(module, flavour, paths=(), libraries=None):
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, (ROOT, *paths))),
        "LD_LIBRARY_PATH": str(libraries or ""),
    }
    done = subprocess.run(
        [sys.executable, ROOT / "test" / "support" / "strict_tensorrt.py", module, flavour],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module", params=[*VERSIONS, RTX])
def reports(request, tmp_path_factory):
    """What a version was asked, by case; see ``strict_tensorrt.all_reports``."""
    if request.param == RTX:
        if not find_spec("tensorrt_rtx_bindings"):
            pytest.skip("TensorRT for RTX is not installed (pip: tensorrt-rtx-cu13-bindings)")
        return reports_of("tensorrt_rtx_bindings", RTX)
    bindings = BINDINGS / request.param
    if not (bindings / "tensorrt_bindings").is_dir():
        pytest.skip(
            f"no bindings of TensorRT {request.param}: scripts/tensorrt_bindings {BINDINGS}"
        )
    missing = [tool for tool in ("cc", "nm", "readelf") if not shutil.which(tool)]
    if missing:
        pytest.skip(f"stub libraries need {', '.join(missing)}")
    folder = tmp_path_factory.mktemp("stubs")
    stub_libraries(bindings, folder)
    found = reports_of("tensorrt_bindings", "tensorrt", [bindings], folder)
    assert found["version"] == request.param
    return found


def major(reports, of_rtx=11):
    number = int(reports["version"].split(".")[0])
    return of_rtx if number == 1 else number


def calls(report, name):
    """Arguments of each call of a method."""
    return [arguments for called, arguments in report["calls"] if called == name]


def flags(report):
    return {flag for (flag,) in calls(report, "IBuilderConfig.set_flag")}


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_build_asks_nothing_that_the_version_has_not(reports, precision):
    report = reports[precision]
    assert report["engine"] > 0
    assert calls(report, "IBuilderConfig.clear_flag") == [["TF32"]]
    assert calls(report, "IBuilderConfig.set_memory_pool_limit") == [["WORKSPACE", 1 << 28]]
    shape = [3, 8, 8]
    assert calls(report, "IOptimizationProfile.set_shape") == [
        ["x", [1, *shape], [4, *shape], [4, *shape]]
    ]


# TensorRT for RTX: no memory is taken while an engine runs.
ALWAYS = {"REQUIRE_USER_ALLOCATION"}


def test_precisions_are_flags_in_8_and_types_later(reports):
    by_precision = {precision: flags(reports[precision]) - ALWAYS for precision in PRECISIONS}
    if major(reports) >= 10:
        assert by_precision == {precision: set() for precision in PRECISIONS}
    else:
        assert by_precision == {
            "fp32": set(), "fp16": {"FP16"},
            "int8-tensor": {"INT8", "FP16"}, "int8-channel": {"INT8", "FP16"},
        }  # fmt: skip


def test_execution_contexts_share_a_profile_where_that_is_asked_for(reports):
    asked = calls(reports["fp32"], "IBuilderConfig.set_preview_feature")
    assert asked == ([["PROFILE_SHARING_0806", True]] if major(reports) == 8 else [])


def test_8_5_cannot_share_a_profile_and_says_so():
    trt = types.SimpleNamespace(
        __version__="8.5.2", PreviewFeature=types.SimpleNamespace(), ILogger=type("ILogger", (), {})
    )
    draft = types.SimpleNamespace(tensors=(EngineTensor("x", True, (-1, 3, 8, 8), np.dtype("f4")),))
    with pytest.raises(
        CodesignError, match=r"TensorRT 8\.5\.2 runs .* set tensorrt\.max_batch to 1"
    ):
        Api(trt, "tensorrt")._set_profile(draft, 4)


def test_a_dla_goes_by_flags_as_long_as_there_are_any(reports):
    report = reports["dla"]
    assert calls(report, "IBuilderConfig.default_device_type=") == [["DLA"]]
    assert calls(report, "IBuilderConfig.DLA_core=") == [[1]]
    assert flags(report) - ALWAYS == ({"FP16"} if major(reports) <= 10 else set()) | {
        "GPU_FALLBACK"
    }
    typed_by_flags = calls(report, "Builder.create_network") == [[1]]  # EXPLICIT_BATCH is bit 0
    assert typed_by_flags or major(reports) >= 11
    if major(reports) == 10:
        assert calls(reports["fp16"], "Builder.create_network") == [[2]]  # STRONGLY_TYPED


def test_runs_can_be_recorded_where_that_takes_a_flag(reports):
    is_rtx = reports["version"].startswith("1.")
    assert flags(reports["fp32"]) == (ALWAYS if is_rtx else set())


def test_a_dla_core_that_is_not_there_is_named(reports):
    assert "no DLA core 1" in reports["no dla"]["error"]
    assert "finds 1" in reports["no dla"]["error"]


def test_progress_is_told_where_there_is_a_monitor(reports):
    monitors = calls(reports["fp32"], "IBuilderConfig.progress_monitor=")
    assert monitors == ([["Monitor"]] if major(reports) >= 10 else [])


def test_former_timings_are_used_where_the_version_times(reports):
    takes_timings = not reports["version"].startswith("1.")
    assert bool(calls(reports["timings"], "IBuilderConfig.set_timing_cache")) == takes_timings
    assert reports["timings"]["timings"] == ("timings" if takes_timings else "")
    assert not any("begins anew" in text for text in reports["timings"]["texts"])
    foreign = any("begins anew" in text for text in reports["foreign timings"]["texts"])
    assert foreign == takes_timings
    # False: not those of another GPU.
    assert all(
        not loose for _, loose in calls(reports["timings"], "IBuilderConfig.set_timing_cache")
    )


def test_rtx_builds_for_the_gpu_that_is_there(reports):
    name = "IBuilderConfig.set_compute_capability"
    is_rtx = reports["version"].startswith("1.")
    assert calls(reports["fp32"], name) == ([["CURRENT", 0]] if is_rtx else [])
    assert calls(reports["no gpu"], name) == []  # for all


def test_a_refused_node_is_named_with_its_operator(reports):
    error = reports["refused node"]["error"]
    assert "operator Relu (node 'the_node')" in error
    assert "it cannot" in error
    assert "\n" not in error


def test_nothing_that_fails_goes_on(reports):
    assert reports["no engine"]["error"].startswith("the engine cannot be built")
    assert reports["no driver"]["error"].startswith("TensorRT cannot build engines here")
    assert reports["bad engine"]["error"].startswith("the engine cannot be loaded")
    assert reports["no memory"]["error"].startswith("the engine cannot be made ready")


def test_an_engine_is_loaded_and_run(reports):
    report = reports["run"]
    assert report["tensors"] == [
        ["x", True, [-1, 3, 8, 8], "float32"],
        ["y", False, [-1, 3, 8, 8], "float32"],
    ]
    assert calls(report, "Runtime.DLA_core=") == [[1]]
    assert report["set"] == [True] * 4
    is_rtx = reports["version"].startswith("1.")
    # One cache of compiled kernels for both contexts.
    assert len(calls(report, "IRuntimeConfig.create_runtime_cache")) == (1 if is_rtx else 0)
    assert len(calls(report, "ICudaEngine.create_execution_context")) == 2


# Which library


def module(version):
    """As much of TensorRT as ``Api`` needs to begin."""
    return types.SimpleNamespace(__version__=version, ILogger=type("ILogger", (), {}))


@pytest.fixture
def _no_cached_api():
    load_api.cache_clear()
    yield
    load_api.cache_clear()


@pytest.mark.usefixtures("_no_cached_api")
def test_nvidia_s_own_package_comes_first(monkeypatch):
    installed = {"tensorrt": module("10.3.0"), "tensorrt_rtx": module("1.7.1")}
    monkeypatch.setattr(library.importlib, "import_module", installed.__getitem__)
    assert (load_api().flavour, load_api().version) == ("tensorrt", "10.3.0")
    assert load_api() is load_api()


@pytest.mark.usefixtures("_no_cached_api")
@pytest.mark.parametrize(
    ("missing", "words"),
    [
        (ModuleNotFoundError("No module", name=None), "pip install tensorrt"),
        (ImportError("libnvinfer.so.10: cannot open"), "tensorrt: libnvinfer.so.10: cannot open"),
    ],
)
def test_no_library_is_one_line_that_says_what_to_install(monkeypatch, missing, words):
    def import_module(name):
        if isinstance(missing, ModuleNotFoundError):
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
        raise missing

    monkeypatch.setattr(library.importlib, "import_module", import_module)
    with pytest.raises(CodesignError, match=re.escape(words)) as caught:
        load_api()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("flavour", "version"), [("tensorrt", "8.4.3"), ("tensorrt", "7.1.3"), (RTX, "1.0.0.21")]
)
def test_an_old_version_is_refused(flavour, version):
    with pytest.raises(CodesignError, match=f"{version} is too old"):
        Api(module(version), flavour)


# What a GPU can do

BOARDS = {
    "Jetson Nano, TX1": ((5, 3), ("fp32", "fp16")),
    "Jetson TX2": ((6, 2), ("fp32", "fp16")),
    "Tesla P100": ((6, 0), ("fp32", "fp16")),
    "GeForce GTX 1080": ((6, 1), ("fp32", "int8-tensor", "int8-channel")),
    "Jetson AGX Xavier": ((7, 2), PRECISIONS),
    "GeForce RTX 2080": ((7, 5), PRECISIONS),
    "Jetson AGX Orin": ((8, 7), PRECISIONS),
    "GeForce RTX 4090": ((8, 9), PRECISIONS),
    "GeForce GTX 970": ((5, 2), ("fp32",)),
}


@pytest.mark.parametrize("board", BOARDS)
def test_precisions_of_a_gpu(board):
    capability, expected = BOARDS[board]
    gpu = Gpu(board, capability, 8 << 30, 0, False)
    assert Api(module("10.3.0"), "tensorrt").precisions(gpu) == expected


def test_any_rtx_has_all_precisions():
    assert Api(module("1.7.1"), RTX).precisions(ANY_RTX) == PRECISIONS


def test_modules_of_one_series_are_told_apart():
    orins = [Gpu("Orin", (8, 7), gib << 30, 2, True).identity for gib in (4, 8, 16, 32, 64)]
    assert len(set(orins)) == len(orins)
    assert "Orin" in orins[0]
    assert "sm_87" in orins[0]
    # What is left of the memory when the system has taken its part varies a little.
    assert Gpu("Orin", (8, 7), (8 << 30) - (90 << 20), 2, True).identity == orins[1]


# What it tells


def test_errors_are_taken_from_the_log_and_only_once():
    class Logger:
        INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)

    log = new_log(types.SimpleNamespace(ILogger=Logger))
    for severity in range(5):
        log.log(severity, f"message {severity}")
    assert log.take() == ["message 0", "message 1"]
    assert log.take() == []


@pytest.mark.parametrize(
    "logged",
    [
        "Error Code 2: OutOfMemory (Requested size was 1073741824 bytes.)",
        "[resizingAllocator.cpp] Error Code 1: Cuda Runtime (out of memory)",
        "Could not allocate 12 bytes of GPU memory",
    ],
)
def test_out_of_memory_advises_a_smaller_workspace(logged):
    text = str(failure("the engine cannot be built", ["What led to it", logged]))
    assert "out of memory" in text
    assert "smaller tensorrt.workspace_mib" in text
    assert "What led to it" in text


def test_no_kernel_in_the_workspace_advises_a_larger_one():
    logged = "Error Code 10: Could not find any implementation for node conv1 + relu1."
    assert "larger tensorrt.workspace_mib" in str(failure("no engine", [logged]))


def test_long_reasons_stay_one_line():
    text = one_line("first\n  second " + "x" * 1000)
    assert text.startswith("first second x")
    assert len(text) <= 400


def test_progress_never_falls_whatever_the_phases_do():
    told = []
    phases = Phases(lambda fraction, text: told.append((fraction, text)))
    phases.start("build", 2)
    phases.step("build", 0)
    for _ in range(3):  # more phases within one step than it says
        phases.start("graph", 4)
        for step in range(4):
            phases.step("graph", step)
        phases.finish("graph")
    phases.start("graph", 0)
    phases.finish("graph")
    phases.step("build", 1)
    phases.finish("build")
    fractions = [fraction for fraction, _ in told]
    assert fractions == sorted(fractions)
    assert fractions[0] == 0.0
    assert fractions[-1] == 1.0
    assert len({fraction for fraction, text in told if text == "graph"}) > 8


# Settings


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"workspace_bytes": 0}, "workspace_bytes is 0"),
        ({"dla_core": -1}, "dla_core is -1"),
        ({"max_batch": 0}, "max_batch is 0"),
        ({"contexts": 0}, "contexts is 0"),
        ({"gpu": -2}, "gpu is -2"),
        ({"dla_core": 0, "max_batch": 2}, "one batch size only"),
    ],
)
def test_settings_out_of_range_are_refused(wrong, words):
    with pytest.raises(CodesignError, match=words):
        TensorRtSettings(**wrong)
