"""The engine factory on TensorRT where there is no GPU: TensorRT for RTX builds all the same.

Running what is built needs a GPU: ``test_gpu_engines``.
"""

import pytest

from codesign_ros.engines.base import EngineKey
from codesign_ros.engines.cache import CacheError
from codesign_ros.engines.factory import open_backend
from codesign_ros.engines.tensorrt.settings import TensorRtSettings
from codesign_ros.runtime.engines.share import EngineShare
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import PRECISIONS, HalfForm, Merge, Structure

pytest.importorskip(
    "tensorrt_rtx_bindings", reason="TensorRT for RTX is not installed", exc_type=ImportError
)

FORM = HalfForm(1, Structure.S3, Merge.FOLD, "fp32")


@pytest.fixture
def open_factory(tiny_bundle, tmp_path, monkeypatch):
    # As on a machine without a driver, also where there is one.
    def no_gpu(index):
        raise CodesignError("no NVIDIA driver: libcuda.so.1 cannot be loaded")

    monkeypatch.setattr("codesign_ros.engines.tensorrt.backend.open_gpu", no_gpu)

    def open_(**settings):
        return open_backend(
            tiny_bundle, "tensorrt", tmp_path, settings=TensorRtSettings(**settings)
        )

    return open_


def test_without_a_gpu_it_builds_and_does_not_run(open_factory):
    factory = open_factory()
    key = EngineKey("head", *FORM)
    assert factory.builds_ahead
    assert factory.precisions == PRECISIONS
    assert not factory.is_built(key)
    told = []
    factory.prepare(key, lambda fraction, text: told.append(text))
    assert factory.is_built(key)
    assert factory.file_of(key).stat().st_size > 1000
    assert "making the ONNX model" in told
    for call in (factory.require_device, lambda: factory.build(key)):
        with pytest.raises(CodesignError, match=r"^no NVIDIA driver"):
            call()


def test_what_is_built_is_known_after_a_restart_without_making_it_again(open_factory, monkeypatch):
    key = EngineKey("head", *FORM)
    open_factory().prepare(key)
    factory = open_factory()
    monkeypatch.setattr(factory, "_piece", None)  # would be needed to cut a piece
    assert factory.is_built(key)
    assert factory.engines("head") == {FORM: True}
    assert factory.engines("tail") == {}
    factory.prepare(key)


def test_engines_of_other_settings_are_other_engines(open_factory):
    key = EngineKey("tail", *FORM)
    open_factory().prepare(key)
    batched = open_factory(max_batch=4)
    assert not batched.is_built(key)
    batched.prepare(key)
    assert batched.is_built(key)
    assert open_factory().file_of(key) != batched.file_of(key)


def test_a_damaged_engine_is_built_anew(open_factory):
    key = EngineKey("head", *FORM)
    factory = open_factory()
    factory.prepare(key)
    file = factory.file_of(key)
    whole = file.read_bytes()
    file.write_bytes(whole[:-100])
    factory.prepare(key)
    assert file.stat().st_size >= len(whole) - 100
    assert file.read_bytes() != whole[:-100]


def test_an_engine_that_was_refused_is_known_and_not_tried_again(open_factory, monkeypatch):
    factory = open_factory()
    tries = []

    def too_big(key):
        tries.append(key)
        raise CodesignError("weight w is too large for float16")

    monkeypatch.setattr(factory, "_piece", too_big)
    key = EngineKey("head", *FORM)
    for _ in range(2):
        with pytest.raises(CodesignError, match=r"^weight w is too large"):
            factory.prepare(key)
    assert tries == [key]
    assert factory.engines("head") == {FORM: False}
    assert not factory.is_built(key)


def test_a_full_disk_is_no_refusal(open_factory, monkeypatch):
    factory = open_factory()
    key = EngineKey("head", *FORM)

    def full(name, data):
        raise CacheError("engine cache cannot be used: No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(factory._cache, "put", full)
        with pytest.raises(CodesignError, match="No space left"):
            factory.prepare(key)
    assert factory.engines("head") == {}
    factory.prepare(key)
    assert factory.engines("head") == {FORM: True}


@pytest.mark.parametrize("key", [EngineKey("head", 0), EngineKey("tail", 99)])
def test_there_is_no_such_half(open_factory, key):
    with pytest.raises(ValueError, match="there is no"):
        open_factory().prepare(key)


def test_a_share_that_cannot_run_is_released(open_factory, tiny_bundle, tmp_path, monkeypatch):
    monkeypatch.setenv("CODESIGN_CACHE_DIR", str(tmp_path))
    engines = EngineShare()
    share = engines.acquire(tiny_bundle.path, "tensorrt")
    engines.release(share)
    with pytest.raises(CodesignError, match=r"^(no NVIDIA driver|the engines were closed)"):
        share.factory.require_device()
