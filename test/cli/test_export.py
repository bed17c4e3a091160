"""``codesign export``: what is built, what is refused, what is there afterwards."""

import json
import sys
from ctypes.util import find_library
from importlib.util import find_spec

import pytest

from codesign_ros.cli.main import main
from codesign_ros.engines import factory, kept
from codesign_ros.engines.base import EngineKey
from codesign_ros.engines.cache import FileCache
from codesign_ros.engines.factory import EngineFactory
from codesign_ros.engines.tensorrt import library
from codesign_ros.engines.tensorrt.engine_file import EngineHeader, pack, piece_entry
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import BRANCH_STRUCTURES, Merge, Structure
from codesign_ros.whatif.exporting import Outcome, export_engines, halves

S3 = Structure.S3

# TensorRT for RTX builds for any GPU of its kind, on a machine that has none.
needs_tensorrt = pytest.mark.skipif(
    not any(map(find_spec, ("tensorrt", "tensorrt_rtx", "tensorrt_rtx_bindings"))),
    reason="no TensorRT here: install tensorrt-rtx-cu13-bindings and tensorrt-rtx-cu13-libs",
)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CODESIGN_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def export(capsys, tiny_bundle, tmp_path):
    """Runs the command; returns its status, standard output and error, and its JSON."""

    def run(*arguments):
        out = tmp_path / "out.json"
        out.unlink(missing_ok=True)
        status = main(["export", str(tiny_bundle.path), *map(str, arguments), "--json", str(out)])
        shown = capsys.readouterr()
        content = json.loads(out.read_text()) if out.exists() else None
        return status, shown.out, shown.err, content

    return run


def outcomes(content):
    return {
        (e["part"], e["cut"], e["structure"], e["precision"]): e["outcome"]
        for e in content["engines"]
    }


class Refuses:
    """Builds all but what it refuses, in no time."""

    def __init__(self, bundle, tmp_path, refused):
        self.bundle, self.refused, self.directory = bundle, refused, tmp_path
        self.builds_ahead = True

    def file_of(self, key):
        file = self.directory / f"{key.part}{key.cut}"
        return file if file.exists() else None

    def prepare(self, key, progress):
        progress(0.5, "half way")
        if key in self.refused:
            raise CodesignError("node n: operator Foo is not supported")
        (self.directory / f"{key.part}{key.cut}").write_bytes(b"12345")


def test_one_engine_that_is_refused_does_not_stop_the_others(tiny_bundle, tmp_path):
    keys = [EngineKey("head", cut) for cut in (1, 2, 3)]
    factory = Refuses(tiny_bundle, tmp_path, keys[1:2])
    (tmp_path / "head3").write_bytes(b"123")
    seen = []
    done = list(export_engines(factory, keys, lambda *told: seen.append(told)))
    assert [each.key for each in done] == keys
    assert [each.outcome for each in done] == [Outcome.BUILT, Outcome.REFUSED, Outcome.WAS_THERE]
    assert done[1].why == "node n: operator Foo is not supported"
    assert [each.size_bytes for each in done] == [5, 0, 5]
    assert seen == [(key, 0.5, "half way") for key in keys]


def test_halves_without_segments_are_no_engines():
    keys = halves(("head", "tail"), (0, 4, 9), (S3,), (Merge.FOLD,), ("fp32", "fp16"), 9)
    assert {(key.part, key.cut) for key in keys} == {
        ("head", 4), ("head", 9), ("tail", 0), ("tail", 4),
    }  # fmt: skip
    assert len(keys) == len({*keys}) == 8
    with pytest.raises(CodesignError, match="cut 10 does not exist: cuts are 0 to 9"):
        halves(("head",), (10,), (S3,), (Merge.FOLD,), ("fp32",), 9)


def test_onnx_runtime_keeps_whole_networks(export, tiny_bundle):
    last = len(tiny_bundle.segments)
    form = ("--backend", "onnxruntime", "--structure", "S3", "S3+S1")
    status, shown, _, content = export(*form, "--cuts", 2, 5)
    whole = {("head", last, structure, "fp32"): "built" for structure in ("S3", "S3+S1")}
    assert (status, outcomes(content)) == (0, whole)
    assert all(engine["bytes"] > 0 for engine in content["engines"])
    assert shown.count("built") == 2
    assert {*outcomes(export(*form, "--cuts", 3)[3]).values()} == {"was there"}
    _, _, _, there = export("--backend", "onnxruntime", "--list")
    assert outcomes(there).keys() == whole.keys()


def test_all_plans_are_what_the_planner_chooses_from(export, monkeypatch):
    asked = []
    monkeypatch.setattr(EngineFactory, "prepare", lambda self, key, progress: asked.append(key))
    export("--backend", "onnxruntime", "--all-plans")
    assert {(key.structure, key.merge, key.precision) for key in asked} == {
        (structure, Merge.FOLD, "fp32") for structure in BRANCH_STRUCTURES
    }


def test_interrupted_it_tells_what_was_done(export, monkeypatch):
    prepare = EngineFactory.prepare

    def until_ctrl_c(self, key, progress):
        if key.structure is not S3:
            raise KeyboardInterrupt
        prepare(self, key, progress)

    monkeypatch.setattr(EngineFactory, "prepare", until_ctrl_c)
    status, shown, error, content = export("--backend", "onnxruntime", "--all-plans")
    assert status == 130
    assert "interrupted: 1 of 4 engines are done" in error
    assert content["interrupted"]
    assert [*outcomes(content).values()] == ["built"]
    assert "built" in shown


def test_refused_engines_are_told_and_make_the_status(export, monkeypatch):
    def refuse(self, key, progress):
        raise CodesignError("node n: operator Foo is not supported")

    monkeypatch.setattr(EngineFactory, "prepare", refuse)
    status, shown, _, content = export("--backend", "onnxruntime", "--cuts", 5, "--structure", "S3")
    assert status == 1
    assert content["engines"][0]["why"] == "node n: operator Foo is not supported"
    assert "operator Foo" in " ".join(shown.split())


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["--backend", "torch"], "backend torch keeps no engines"),
        (["--backend", "tpu"], "--backend: there is no choice 'tpu'; known are onnxruntime"),
        (["--backend", "onnxruntime", "--cuts", 99], "cut 99 does not exist"),
        (["--backend", "onnxruntime", "--max-batch", 4], "--max-batch: for backend tensorrt"),
        (["--backend", "onnxruntime", "--robot", "toaster"], "unknown device 'toaster'"),
        (["--backend", "onnxruntime", "--robot-profile", "x"], "both --robot-profile and"),
        (["--max-batch", 0], "--max-batch must be at least 1, not 0"),
        (["--max-batch", 2, "--dla-core", 0], "a DLA takes one batch size only"),
        (["--cuts", 3, "--all-plans"], "not allowed with"),
    ],
)
def test_a_mistake_is_one_line(export, capsys, arguments, names):
    try:
        status, _, error, _ = export(*arguments)
    except SystemExit as ended:  # argparse's
        status, error = ended.code, capsys.readouterr().err
    (line,) = error.strip().splitlines()
    assert status == 2
    assert line.startswith("error: ")
    assert names in line


@pytest.mark.skipif(find_library("cuda") is not None, reason="a GPU's driver is here")
@pytest.mark.parametrize("command", [["evaluate", "mine:1", "--frames", "1"], ["profile"]])
def test_without_a_gpu_tensorrt_runs_nothing_and_says_so(capsys, tiny_bundle, command):
    status = main([*command, "--bundle", str(tiny_bundle.path), "--backend", "tensorrt"])
    error = capsys.readouterr().err
    (line,) = [line for line in error.splitlines() if line.startswith("error: ")]
    assert status == 2
    assert "no choice" not in line
    assert "Traceback" not in error


def test_a_list_needs_no_library(export, tiny_bundle, tmp_path, monkeypatch):
    """An engine of another machine's in the cache, told by its header alone."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setattr(library, "find_library", None)  # nobody asks for TensorRT
    monkeypatch.setattr(factory, "open_backend", None)
    cache, names = FileCache(tmp_path / "cache"), kept._Names(tiny_bundle)
    key = EngineKey("tail", 3, precision="fp16", merge=Merge.FOLD)
    assert export("--list")[3]["engines"] == []
    header = EngineHeader("0" * 64, "tensorrt", "10.3.0", "Orin (sm_87)", "fp16", None, 1, None)
    cache.put(header.file_name, pack(header, b"12345"))
    cache.put("damaged.engine.cache", b"codesign engine\n")
    (tmp_path / "cache" / "empty.engine.cache").touch()
    assert export("--list")[3]["engines"] == []  # of another network
    cache.put(piece_entry(names.network_name(key), "tail", 3, False), header.content.encode())
    status, shown, _, content = export("--list")
    (engine,) = content["engines"]
    assert (status, engine["part"], engine["cut"], engine["precision"]) == (0, "tail", 3, "fp16")
    assert engine["made_for"] == "tensorrt 10.3.0, Orin (sm_87)"
    assert "Orin" in shown
    assert export("--list", "--max-batch", 2)[3]["engines"] == []
    assert export("--list", "--backend", "onnxruntime")[3]["engines"] == []
    assert "keeps no engines" in export("--list", "--backend", "torch")[2]


@needs_tensorrt
def test_tensorrt_engines_are_built_once(export, tiny_bundle):
    status, _, _, content = export("--cuts", 5, "--structure", "S3")
    built = {(part, 5, "S3", "fp32"): "built" for part in ("head", "tail")}
    assert (status, outcomes(content)) == (0, built)
    assert all(engine["bytes"] > 10_000 for engine in content["engines"])
    again = export("--cuts", 5, "--structure", "S3")[3]
    assert {*outcomes(again).values()} == {"was there"}
    there = export("--list")[3]
    assert outcomes(there).keys() == built.keys()
    # Engines for other settings are others.
    assert export("--list", "--max-batch", 2)[3]["engines"] == []


@needs_tensorrt
def test_likely_engines_hold_the_whole_network_and_say_what_they_serve(export, tiny_bundle):
    last = len(tiny_bundle.segments)
    status, shown, _, content = export("--robot", "jetson-nano", "--part", "head")
    assert status == 0
    assert {engine["part"] for engine in content["engines"]} == {"head"}
    assert outcomes(content)["head", last, "S3", "fp32"] == "built"
    served = [engine for engine in content["engines"] if engine["link_bps"]]
    assert served
    for engine in served:
        slowest, fastest = engine["link_bps"]
        assert 1e5 <= slowest <= fastest <= 1e9
        assert engine["objectives"]
    assert "Mbit/s" in shown
