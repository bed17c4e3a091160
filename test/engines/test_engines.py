import errno
import itertools
import os
import pkgutil
import shutil
import subprocess
import sys
import tempfile

import numpy as np
import pytest
import torch
from onnx import helper

from codesign_ros.bundle import Bundle
from codesign_ros.engines.base import EngineKey
from codesign_ros.engines.cache import default_cache_dir
from codesign_ros.engines.factory import BACKENDS, open_backend
from codesign_ros.engines.ort import OnnxEngine
from codesign_ros.pixels.letterbox import normalise
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import BRANCH_STRUCTURES, PRECISIONS, Merge, Structure
from codesign_ros.types.tensors import TensorSpec
from codesign_ros.wire.codecs import encode
from codesign_ros.wire.decode import WireLimits, decode
from support.tiny import tiny_frames, write_tiny_bundle

# Those that run everywhere; TensorRT has tests of its own.
ON_CPUS = ("onnxruntime", "torch")


@pytest.fixture(scope="module", params=ON_CPUS)
def factory(request, tiny_bundle, engine_cache):
    return open_backend(tiny_bundle, request.param, engine_cache)


@pytest.fixture(scope="module")
def frame():
    return tiny_frames(1, seed=5)[0]


@pytest.fixture(scope="module")
def whole_output(tiny_bundle, frame):
    """What the trained network itself says, with all its branches and BatchNorms."""
    with torch.inference_mode():
        return tiny_bundle.network()(torch.from_numpy(normalise(frame, tiny_bundle.input))).numpy()


def over_the_wire(tensors, specs):
    """Send every tensor as raw bytes and read it back against the bundle's description."""
    return {
        spec.name: decode(encode(spec.name, tensors[spec.name], "raw"), spec, WireLimits())
        for spec in specs
    }


def test_every_split_gives_what_the_whole_network_gives(factory, tiny_bundle, frame, whole_output):
    bundle, last = tiny_bundle, len(tiny_bundle.segments)
    (output,) = bundle.crossings[last]
    image = {"image": frame}
    assert np.abs(whole_output).max() > 0.1

    sent = {}
    for structure, cut in itertools.product(BRANCH_STRUCTURES, range(1, last + 1)):
        head = factory.build(EngineKey("head", cut, structure))
        made = head.run(image)
        assert made.keys() == {spec.name for spec in bundle.crossings[cut]}
        sent[structure, cut] = over_the_wire(made, bundle.crossings[cut])
        head.close()
    # At cut 0 the frame itself crosses; whichever structure the head would have.
    frame_sent = over_the_wire({"image": frame}, bundle.crossings[0])
    for structure in BRANCH_STRUCTURES:
        sent[structure, 0] = frame_sent

    for tail_structure, cut in itertools.product(BRANCH_STRUCTURES, range(last)):
        tail = factory.build(EngineKey("tail", cut, tail_structure))
        for head_structure in BRANCH_STRUCTURES:
            result = tail.run(sent[head_structure, cut])
            np.testing.assert_allclose(
                result[output.name],
                whole_output,
                atol=1e-5,
                err_msg=f"{factory.backend} {head_structure} | {cut} | {tail_structure}",
            )
        tail.close()
    for structure in BRANCH_STRUCTURES:
        np.testing.assert_allclose(sent[structure, last][output.name], whole_output, atol=1e-5)


def test_pruning_changes_the_output_and_both_backends_agree_on_it(
    tiny_bundle, engine_cache, frame, whole_output
):
    image = {"image": frame}
    for structure in (Structure.S3, Structure.S3_SS, Structure.S3_S1):
        key = EngineKey("tail", 0, structure, Merge.PRUNE)
        outputs = [
            open_backend(tiny_bundle, backend, engine_cache).build(key).run(image)["logits"]
            for backend in ON_CPUS
        ]
        assert np.abs(outputs[0] - whole_output).max() > 1e-2
        np.testing.assert_allclose(*outputs, atol=1e-5)


def test_engine_describes_itself(factory, tiny_bundle):
    head = factory.build(EngineKey("head", 4))
    tail = factory.build(EngineKey("tail", 4))
    assert [(s.name, s.shape, s.dtype) for s in head.inputs] == [("image", (64, 96, 3), "uint8")]
    assert head.outputs == tail.inputs == tiny_bundle.crossings[4]
    assert [(s.name, s.shape) for s in tail.outputs] == [("logits", (1, 3))]
    assert factory.build(EngineKey("tail", 0)).inputs == head.inputs


def test_warm_up_then_run_then_close(factory, frame):
    engine = factory.build(EngineKey("head", 3))
    engine.warm_up(runs=1)
    image = {"image": frame}
    first, second = engine.run(image), engine.run(image)
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])
        assert not np.shares_memory(first[name], second[name])
    engine.close()
    with pytest.raises(RuntimeError, match="closed"):
        engine.run(image)


@pytest.mark.parametrize(
    "key",
    [
        EngineKey("head", 0),
        EngineKey("head", -1),
        EngineKey("head", 99),
        EngineKey("tail", -1),
        EngineKey("tail", 99),
    ],
)
def test_halves_that_do_not_exist(factory, key):
    with pytest.raises(ValueError, match=f"no {key.part} for cut {key.cut}"):
        factory.build(key)


def test_tail_of_the_last_cut_does_not_exist(factory, tiny_bundle):
    with pytest.raises(ValueError, match="no tail"):
        factory.build(EngineKey("tail", len(tiny_bundle.segments)))


def test_unknown_precision_and_backend(factory, tiny_bundle):
    with pytest.raises(CodesignError, match=r"'int8' is not available on .*; it has: fp32"):
        factory.build(EngineKey("head", 1, precision="int8"))
    with pytest.raises(CodesignError, match="unknown backend 'tpu'; known: onnxruntime, torch"):
        open_backend(tiny_bundle, "tpu")


def test_torch_has_no_int8(tiny_bundle, engine_cache):
    factory = open_backend(tiny_bundle, "torch", engine_cache)
    with pytest.raises(
        CodesignError,
        match=r"^precision 'int8-channel' is not available on backend torch; ",
    ):
        factory.build(EngineKey("tail", 0, precision="int8-channel"))
    assert open_backend(tiny_bundle, cache_dir=engine_cache).precisions == (
        "fp32",
        "fp16",
        "int8-tensor",
        "int8-channel",
    )


@pytest.mark.parametrize("precision", ["int8-tensor", "int8-channel"])
def test_int8_head_and_tail_are_the_int8_whole(tiny_bundle, engine_cache, frame, precision):
    factory = open_backend(tiny_bundle, cache_dir=engine_cache)
    image = {"image": frame}

    def whole(wanted):
        key = EngineKey("tail", 0, Structure.S3_SS, precision=wanted)
        return factory.build(key).run(image)["logits"]

    for cut in (1, 7):
        keys = [EngineKey(part, cut, Structure.S3_SS, precision=precision)
                for part in ("head", "tail")]  # fmt: skip
        made = factory.build(keys[0]).run(image)
        sent = over_the_wire(made, tiny_bundle.crossings[cut])
        np.testing.assert_array_equal(factory.build(keys[1]).run(sent)["logits"], whole(precision))
    assert 0 < np.abs(whole(precision) - whole("fp32")).max() < 0.2 * np.abs(whole("fp32")).max()


def test_pruned_with_batchnorm_runs_on_both_backends(tiny_bundle, engine_cache, frame):
    image = {"image": frame}
    key = EngineKey("tail", 0, Structure.S3, Merge.PRUNE_BN)
    outputs = [
        open_backend(tiny_bundle, backend, engine_cache).build(key).run(image)["logits"]
        for backend in ON_CPUS
    ]
    np.testing.assert_allclose(*outputs, atol=1e-4)
    pruned = open_backend(tiny_bundle, cache_dir=engine_cache).build(
        EngineKey("tail", 0, Structure.S3, Merge.PRUNE)
    )
    assert np.abs(outputs[0] - pruned.run(image)["logits"]).max() > 1e-2


def test_calibration_frames_are_part_of_the_forms_that_they_shape(tiny_bundle, tmp_path):
    other = shutil.copytree(tiny_bundle.path, tmp_path / "other.bundle")
    np.savez_compressed(other / "calibration.npz", frames=tiny_frames(2, seed=9))
    one, two = open_backend(tiny_bundle), open_backend(Bundle.open(other))
    for merge, precision in itertools.product(Merge, ("fp32", "int8-tensor", "int8-channel")):
        depends = merge is Merge.PRUNE_BN or precision != "fp32"
        keys = {
            each.network_name(EngineKey("head", 1, Structure.S3, merge, precision))
            for each in (one, two)
        }
        assert len(keys) == (2 if depends else 1)


NAMED = """
import sys
import codesign_ros.cli.common
from codesign_ros.engines.factory import BACKENDS

libraries = {"torch", "onnx", "onnxruntime", "tensorrt", "tensorrt_rtx", "pycuda"}
sys.exit(f"imported {libraries & {*sys.modules}}" if libraries & {*sys.modules} else 0)
"""


def fresh_python(code, *arguments):
    """Run a program in a process of its own, which has to end with status 0."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        cwd=os.getcwd(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


def test_to_name_the_backends_loads_none():
    fresh_python(NAMED)
    for name, place in BACKENDS.items():
        assert pkgutil.resolve_name(place).backend == name


WARM_START = """
import sys
from pathlib import Path
from codesign_ros.bundle import Bundle
from codesign_ros.engines.base import EngineKey
from codesign_ros.engines.factory import BACKENDS, open_backend

factory = open_backend(Bundle.open(sys.argv[1]), cache_dir=Path(sys.argv[2]))
for part in ("head", "tail"):
    for precision in ("fp32", "int8-channel"):
        factory.build(EngineKey(part, 3, precision=precision)).warm_up()
heavy = [name for name in sys.modules if name == "torch" or name.startswith("codesign_ros.models.")]
sys.exit(f"imported {heavy}" if heavy else 0)
"""


def test_with_a_warm_cache_torch_is_not_imported(tiny_bundle, engine_cache):
    for precision in ("fp32", "int8-channel"):
        open_backend(tiny_bundle, cache_dir=engine_cache).build(
            EngineKey("head", 3, precision=precision)
        )
    fresh_python(WARM_START, tiny_bundle.path, engine_cache)


@pytest.mark.parametrize("damage", ["flipped", "cut off", "empty"])
def test_damaged_cache_file_is_made_again(tiny_bundle, tmp_path, damage):
    key = EngineKey("head", 1)
    factory = open_backend(tiny_bundle, cache_dir=tmp_path)
    factory.build(key)
    (file,) = tmp_path.iterdir()
    assert file.name == factory.network_name(key)
    whole = file.read_bytes()
    damaged = {
        "flipped": whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:],
        "cut off": whole[: len(whole) // 2],
        "empty": b"",
    }[damage]
    file.write_bytes(damaged)
    open_backend(tiny_bundle, cache_dir=tmp_path).build(key).warm_up()
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    assert len(file.read_bytes()) == len(whole)


def test_cache_key_tells_weights_and_forms_apart(tiny_bundle, tmp_path):
    other = write_tiny_bundle(tmp_path / "other.bundle", seed=1)
    same = write_tiny_bundle(tmp_path / "same.bundle")
    keys = {
        open_backend(bundle).network_name(EngineKey("head", 1, structure, merge, precision))
        for bundle in (tiny_bundle, same, other)
        for structure in Structure
        for merge in Merge
        for precision in PRECISIONS
    }
    assert len(keys) == 2 * 5 * 3 * 4


def test_cache_directory_by_environment(tiny_bundle, tmp_path, monkeypatch):
    monkeypatch.setenv("CODESIGN_CACHE_DIR", str(tmp_path / "deep" / "cache"))
    open_backend(tiny_bundle).build(EngineKey("head", 1))
    assert len(list((tmp_path / "deep" / "cache").iterdir())) == 1


def test_a_user_without_a_home_folder_is_told_to_name_a_cache(monkeypatch):
    for name in ("HOME", "CODESIGN_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000_000)
    with pytest.raises(CodesignError, match="no home folder: name one in CODESIGN_CACHE_DIR"):
        default_cache_dir()


def test_cache_directory_that_cannot_be_used_is_one_line(tiny_bundle, tmp_path):
    (tmp_path / "file").write_text("in the way")
    factory = open_backend(tiny_bundle, cache_dir=tmp_path / "file")
    with pytest.raises(
        CodesignError, match=r"engine cache .* cannot be used: .*CODESIGN_CACHE_DIR"
    ):
        factory.build(EngineKey("head", 1))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS], ids=errno.errorcode.get)
def test_cache_directory_that_is_full_or_read_only_is_a_warning(
    tiny_bundle, tmp_path, monkeypatch, caplog, number
):
    def refuse(*_args, **_options):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    engine = open_backend(tiny_bundle, cache_dir=tmp_path).build(EngineKey("head", 1))
    assert engine is not None
    assert not list(tmp_path.iterdir())
    (line,) = caplog.messages
    assert line.startswith("nothing is kept, so it is made anew at the next start: engine cache")
    assert os.strerror(number) in line


def test_an_onnx_engine_does_not_hold_its_model():
    spec, made = TensorSpec("x", (1, 3)), TensorSpec("y", (1, 3))
    ends = [helper.make_tensor_value_info(each.name, 1, each.shape) for each in (spec, made)]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", ends[:1], ends[1:])
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
    before = sys.getrefcount(model)
    engine = OnnxEngine(model, (spec,), (made,), threads=1)
    assert sys.getrefcount(model) == before
    values = np.float32([[-1, 0, 2]])
    assert np.array_equal(engine.run({"x": values})["y"], np.maximum(values, 0))


def test_onnx_runtime_tells_nobody_what_it_runs(tmp_path):
    """Its telemetry begins with its import: an id of the machine, and what is to be sent."""
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": ""}
    kept = {key: value for key, value in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"}
    code = "import codesign_ros.engines.ort"
    subprocess.run([sys.executable, "-c", code], env={**kept, **home}, check=True, timeout=120)
    assert not list(tmp_path.rglob("*"))
