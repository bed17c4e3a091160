import shutil
import threading
from dataclasses import replace
from types import SimpleNamespace

import pytest

from codesign_ros.engines.tensorrt import store as store_module
from codesign_ros.engines.tensorrt.engine_file import content_of
from codesign_ros.engines.tensorrt.settings import TensorRtSettings
from codesign_ros.engines.tensorrt.store import EngineStore
from codesign_ros.engines.tensorrt.target import ANY_RTX, Gpu
from codesign_ros.types.errors import CodesignError

PIECE = b"a piece of ONNX"
CONTENT = content_of(PIECE)
ORIN = Gpu("Orin", (8, 7), 8 << 30, 2, True)
ADA = Gpu("NVIDIA GeForce RTX 4090", (8, 9), 24 << 30, 0, False)
TENSORRT = SimpleNamespace(flavour="tensorrt", version="10.3.0")
RTX = SimpleNamespace(flavour="tensorrt-rtx", version="1.7.1")
DEFAULTS = TensorRtSettings()


class Builds:
    """Stands in for the build process; keeps what it was asked."""

    def __init__(self):
        self.requests = []
        self.fails = None

    def __call__(self, piece, request, cache_dir, progress):
        self.requests.append(request)
        progress(0.5, "building")
        if self.fails:
            raise self.fails
        return b"engine of " + piece


@pytest.fixture
def builds(monkeypatch):
    stand_in = Builds()
    monkeypatch.setattr(store_module, "build_in_process", stand_in)
    return stand_in


@pytest.fixture
def make_store(tmp_path):
    def make(api=TENSORRT, gpu=ORIN, settings=DEFAULTS, directory=tmp_path):
        return EngineStore(directory, api, gpu, settings)

    return make


def quiet(fraction, text):
    pass


def test_an_engine_is_built_once_and_found_again(builds, make_store):
    store = make_store()
    assert not store.file_of(CONTENT, "fp32")
    assert store.get(CONTENT, "fp32") is None
    told = []
    engine = store.make(PIECE, "fp32", lambda fraction, text: told.append((fraction, text)))
    assert engine == b"engine of " + PIECE
    assert (0.5, "building") in told
    assert store.file_of(CONTENT, "fp32")
    # Another process with the same settings.
    again = make_store()
    assert again.get(CONTENT, "fp32") == engine
    assert again.make(PIECE, "fp32", quiet) == engine
    assert len(builds.requests) == 1
    assert not store.file_of(CONTENT, "fp16")
    assert not store.file_of(content_of(b"another"), "fp32")


def test_what_is_asked_of_the_build_is_what_the_settings_say(builds, make_store):
    settings = TensorRtSettings(workspace_bytes=1 << 28, dla_core=1, gpu=2)
    store = make_store(settings=settings)
    for precision in ("fp16", "fp32", "int8-channel"):
        store.make(PIECE, precision, quiet)
    assert [request.precision for request in builds.requests] == ["fp16", "fp32", "int8-channel"]
    assert [request.dla_core for request in builds.requests] == [1, None, None]
    assert {request.workspace_bytes for request in builds.requests} == {1 << 28}
    assert {request.gpu for request in builds.requests} == {2}
    assert {request.target for request in builds.requests} == {ORIN.identity}


def test_a_build_leaves_memory_that_is_shared_to_others(builds, make_store):
    for gpu, settings in (
        (ORIN, DEFAULTS), (ADA, DEFAULTS), (ORIN, TensorRtSettings(workspace_bytes=6 << 30)),
    ):  # fmt: skip
        make_store(gpu=gpu, settings=settings).make(PIECE, "fp32", quiet)
    assert [each.workspace_bytes for each in builds.requests] == [2 << 30, None, 6 << 30]


def test_no_gpu_means_no_gpu(builds, make_store):
    make_store(RTX, ANY_RTX).make(PIECE, "fp32", quiet)
    assert builds.requests[0].gpu is None


@pytest.mark.parametrize(
    "other",
    [
        {"api": SimpleNamespace(flavour="tensorrt", version="10.4.0")},
        {"api": SimpleNamespace(flavour="tensorrt-rtx", version="10.3.0")},
        {"gpu": ADA},
        {"gpu": replace(ORIN, memory_bytes=16 << 30)},
        {"settings": TensorRtSettings(max_batch=4)},
        {"settings": TensorRtSettings(workspace_bytes=1 << 20)},
        {"settings": TensorRtSettings(dla_core=0)},
    ],
)
def test_an_engine_for_something_else_is_not_there(builds, make_store, other):
    make_store().make(PIECE, "fp16", quiet)
    assert not make_store(**other).file_of(CONTENT, "fp16")


@pytest.mark.parametrize(
    "settings",
    [
        TensorRtSettings(contexts=4),
        TensorRtSettings(cuda_graph=False),
        TensorRtSettings(zero_copy=True),
        TensorRtSettings(gpu=1),
    ],
)
def test_how_it_runs_makes_no_other_engine(builds, make_store, settings):
    make_store().make(PIECE, "fp32", quiet)
    assert make_store(settings=settings).file_of(CONTENT, "fp32")


def test_a_dla_makes_no_other_engine_of_what_runs_on_the_gpu(builds, make_store):
    make_store().make(PIECE, "int8-tensor", quiet)
    on_dla = make_store(settings=TensorRtSettings(dla_core=0))
    assert on_dla.file_of(CONTENT, "int8-tensor")


@pytest.mark.parametrize("at", [0, 40, 60, -1])
def test_a_damaged_file_is_built_anew(builds, make_store, at):
    store = make_store()
    engine = store.make(PIECE, "fp32", quiet)
    file = store.file_of(CONTENT, "fp32")
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.write_bytes(data)
    assert store.get(CONTENT, "fp32") is None
    assert store.make(PIECE, "fp32", quiet) == engine
    assert store.get(CONTENT, "fp32") == engine
    assert len(builds.requests) == 2


def test_a_file_of_another_machine_is_refused_whatever_its_name(builds, make_store, tmp_path):
    there = make_store(gpu=ADA, directory=tmp_path / "there")
    there.make(PIECE, "fp32", quiet)
    here = make_store(directory=tmp_path)
    here.make(PIECE, "fp32", quiet)
    shutil.copy(there.file_of(CONTENT, "fp32"), here.file_of(CONTENT, "fp32"))
    words = r"was built for GPU 'NVIDIA GeForce RTX 4090 .*', and this is 'Orin "
    with pytest.raises(CodesignError, match=words):
        here.get(CONTENT, "fp32")
    with pytest.raises(CodesignError, match="delete it"):
        here.make(PIECE, "fp32", quiet)
    assert len(builds.requests) == 2


def test_an_engine_for_any_rtx_gpu_runs_on_each(builds, make_store):
    engine = make_store(RTX, ANY_RTX).make(PIECE, "fp32", quiet)
    on_robot = make_store(RTX, ADA)
    assert on_robot.file_of(CONTENT, "fp32")
    assert on_robot.get(CONTENT, "fp32") == engine
    assert on_robot.make(PIECE, "fp32", quiet) == engine
    assert len(builds.requests) == 1
    turing = Gpu("NVIDIA GeForce RTX 2080", (7, 5), 8 << 30, 0, False)
    assert not make_store(RTX, turing).file_of(CONTENT, "fp32")
    # TensorRT's own engines are bound to a GPU, and one for a GPU is not for any.
    make_store(RTX, ADA).make(b"other", "fp32", quiet)
    assert not make_store(RTX, ANY_RTX).file_of(content_of(b"other"), "fp32")


def test_a_refusal_is_remembered_in_this_process_only(builds, make_store):
    store = make_store()
    assert store.refusal(CONTENT, "fp16") is None
    builds.fails = CodesignError("TensorRT does not take operator Foo")
    with pytest.raises(CodesignError, match="Foo"):
        store.make(PIECE, "fp16", quiet)
    assert store.refusal(CONTENT, "fp16") == "TensorRT does not take operator Foo"
    assert not store.file_of(CONTENT, "fp16")
    assert store.refusal(CONTENT, "fp32") is None
    assert make_store().refusal(CONTENT, "fp16") is None


def test_who_stops_a_build_has_refused_nothing(builds, make_store):
    store = make_store()

    def stop(fraction, text):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.make(PIECE, "fp32", stop)
    assert store.refusal(CONTENT, "fp32") is None
    assert store.make(PIECE, "fp32", quiet)


def test_two_that_want_one_engine_build_it_once(monkeypatch, make_store):
    """Two nodes of one machine that start together; here two threads with a store each."""
    begun, waits = threading.Event(), threading.Event()
    built = []

    def slow(piece, request, cache_dir, progress):
        built.append(request)
        begun.set()
        assert waits.wait(30)
        return b"engine"

    monkeypatch.setattr(store_module, "build_in_process", slow)
    engines = []
    first = threading.Thread(target=lambda: engines.append(make_store().make(PIECE, "fp32", quiet)))
    first.start()
    assert begun.wait(30)
    # The second is told that it waits, and only then the first goes on.
    engines.append(make_store().make(PIECE, "fp32", lambda _, text: waits.set()))
    first.join(30)
    assert engines == [b"engine", b"engine"]
    assert len(built) == 1


def test_a_directory_that_cannot_be_written_is_one_line(builds, make_store, tmp_path):
    file = tmp_path / "a file"
    file.touch()
    with pytest.raises(CodesignError, match="CODESIGN_CACHE_DIR") as caught:
        make_store(directory=file / "below").make(PIECE, "fp32", quiet)
    assert "\n" not in str(caught.value)
