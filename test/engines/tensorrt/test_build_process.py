"""The process that builds: what it says, and every way in which it can end."""

import json
import os
import queue
import signal
import stat
import subprocess
import sys
import threading
import time
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest

from codesign_ros.engines.cache import FileCache
from codesign_ros.engines.tensorrt import build_process, worker
from codesign_ros.engines.tensorrt.build_process import build_in_process, build_lock
from codesign_ros.engines.tensorrt.request import BuildRequest
from codesign_ros.engines.tensorrt.worker import Job, timings_name, work
from codesign_ros.types.errors import CodesignError
from support.paths import ROOT
from support.tensorrt_pieces import convolution, one_node

ANYWHERE = BuildRequest("fp32", gpu=None, target="any RTX GPU")
PATIENCE_S = 60

needs_rtx = pytest.mark.skipif(
    not find_spec("tensorrt_rtx_bindings"), reason="TensorRT for RTX is not installed"
)


def quiet(fraction, text):
    pass


def wait_for(condition):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)


def ended(pid):
    """Whether a process is no more; one that nobody has fetched is a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except FileNotFoundError:
        return True


def children():
    """Processes that this one has started and that run."""
    found = set()
    for task in Path("/proc/self/task").iterdir():
        found.update(int(pid) for pid in (task / "children").read_text().split())
    return {pid for pid in found if not ended(pid)}


# A build


@needs_rtx
def test_an_engine_is_built(tmp_path):
    told = []
    engine = build_in_process(
        convolution(), ANYWHERE, tmp_path, lambda *report: told.append(report)
    )
    assert engine.startswith(b"vtrt")
    assert (None, "loading TensorRT") in told
    fractions = [fraction for fraction, _ in told if fraction is not None]
    assert fractions == sorted(fractions)
    assert fractions[-1] > 0.5


@needs_rtx
def test_what_cannot_be_built_is_one_line(tmp_path):
    with pytest.raises(CodesignError, match=r"operator Det \(node 'the_node'\)") as caught:
        build_in_process(one_node("Det"), ANYWHERE, tmp_path, quiet)
    assert "\n" not in str(caught.value)


@needs_rtx
def test_who_raises_in_progress_stops_the_build(tmp_path):
    before = children()
    builders = set()

    def stop(fraction, text):
        builders.update(children() - before)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_in_process(convolution(), ANYWHERE, tmp_path, stop)
    assert builders
    assert all(map(ended, builders))


def test_the_process_imports_neither_torch_nor_ros_nor_bundles():
    program = (
        "import sys, codesign_ros.engines.tensorrt.worker\n"
        "heavy = {'torch', 'rclpy', 'cv2', 'onnxruntime', 'codesign_ros.bundle'}\n"
        "print(*(heavy & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")


# A process that ends in another way


@pytest.fixture
def instead(tmp_path, monkeypatch):
    """Puts a shell script in the place of the process that builds."""

    def put(script):
        file = tmp_path / "python"
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(file.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setattr(build_process, "sys", SimpleNamespace(executable=file, path=sys.path))

    return put


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("cat >/dev/null; kill -KILL $$", "killed by SIGKILL, usually because memory ran out"),
        ("kill -SEGV $$", "killed by SIGSEGV; TensorRT crashed"),
        ("cat >/dev/null; kill -INT $$", "killed by SIGINT, because it was interrupted"),
        ("kill -TERM $$", "killed by SIGTERM"),
        ("echo one >&2; echo 'the last line' >&2; exit 3", "status 3: the last line"),
        ("exit 4", "status 4: no word"),
        ("""echo '{"error": "TensorRT has a reason"}'; exit 1""", "^TensorRT has a reason$"),
    ],
)
def test_how_the_process_ended_is_said_in_one_line(instead, tmp_path, script, words):
    if "-INT" in script and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        pytest.skip("started in the background, where SIGINT is ignored by all that is started")
    instead(script)
    with pytest.raises(CodesignError, match=words) as caught:
        build_in_process(b"a piece" * 100_000, ANYWHERE, tmp_path, quiet)
    assert "\n" not in str(caught.value)


def test_who_waits_hears_something_although_the_process_says_nothing(instead, tmp_path):
    instead("exec sleep 1000")
    heard = []

    class EnoughError(Exception):
        pass

    def progress(fraction, text):
        heard.append(text)
        if len(heard) == 3:
            raise EnoughError

    with pytest.raises(EnoughError):
        build_in_process(b"piece", ANYWHERE, tmp_path, progress)
    assert set(heard) == {"starting"}


def test_a_full_disk_is_one_line(monkeypatch, tmp_path):
    def full(self, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(CodesignError, match="No space left on device"):
        build_in_process(b"piece", ANYWHERE, tmp_path, quiet)


# The process itself. It stands still where it reads its piece from a pipe that nobody writes.

STARTER = """
import subprocess, sys, os, json
job = json.loads(sys.argv[1])
job["parent"] = os.getpid()
process = subprocess.Popen(
    [sys.executable, "-m", "codesign_ros.engines.tensorrt.worker"],
    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
)
process.stdin.write(json.dumps(job))
process.stdin.close()
print(process.stdout.readline().strip(), flush=True)
print(process.pid, flush=True)
print(process.wait(), flush=True)
"""


@pytest.fixture
def still(tmp_path):
    """A process that started one that builds: (the first, process id of the second)."""
    os.mkfifo(tmp_path / "pipe")
    job = Job(ANYWHERE, str(tmp_path / "pipe"), str(tmp_path / "engine"), str(tmp_path), 0)
    with subprocess.Popen(
        [sys.executable, "-c", STARTER, job.to_json()],
        cwd=ROOT, stdout=subprocess.PIPE, text=True,
    ) as starter:  # fmt: skip
        try:
            assert json.loads(starter.stdout.readline()) == {
                "fraction": None,
                "text": "loading TensorRT",
            }
            pid = int(starter.stdout.readline())
            yield starter, pid
        finally:
            starter.kill()


@needs_rtx
def test_the_process_is_niced(still):
    _, pid = still
    here = os.getpriority(os.PRIO_PROCESS, 0)
    assert os.getpriority(os.PRIO_PROCESS, pid) == min(here + 10, 19)


@needs_rtx
def test_the_process_ends_with_its_parent(still):
    starter, pid = still
    assert not ended(pid)
    starter.kill()  # it can do nothing any more
    wait_for(lambda: ended(pid))


@needs_rtx
def test_an_interrupt_ends_the_process(still):
    starter, pid = still
    os.kill(pid, signal.SIGINT)
    assert int(starter.stdout.readline()) == -signal.SIGINT


def test_a_process_whose_parent_is_gone_already_does_nothing(tmp_path):
    job = Job(ANYWHERE, str(tmp_path / "none"), str(tmp_path / "engine"), str(tmp_path), parent=1)
    done = subprocess.run(
        [sys.executable, "-m", "codesign_ros.engines.tensorrt.worker"],
        cwd=ROOT, input=job.to_json(), capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert not (tmp_path / "engine").exists()


def test_a_job_goes_through_json():
    job = Job(BuildRequest("fp16", 4, 1 << 28, None, None, "Ωmega"), "a", "b", "c d", 7)
    assert Job.from_json(job.to_json()) == job


# Timings of former builds


class Timed:
    """A TensorRT that only keeps timings: those of one build more than it was given."""

    flavour, version = "tensorrt", "10.3.0"

    def __init__(self):
        self.given = []

    def parse(self, piece, request):
        return SimpleNamespace(tensors=())

    def configure(self, draft, request, progress):
        pass

    def use_timing_cache(self, draft, timings):
        self.given.append(timings)
        return timings in (b"", b"1", b"2")

    def timing_cache(self, draft):
        return str(len(self.given)).encode()

    def serialise(self, draft):
        return b"engine"


@pytest.fixture
def timed(tmp_path, monkeypatch):
    """Builds with ``Timed``, and returns what was told."""
    api = Timed()
    monkeypatch.setattr(worker, "load_api", lambda: api)
    (tmp_path / "piece").write_bytes(b"piece")
    job = Job(
        BuildRequest("fp32", target="Orin (sm_87, 8 GiB)"),
        str(tmp_path / "piece"), str(tmp_path / "engine"), str(tmp_path / "cache"), 0,
    )  # fmt: skip

    def build():
        told = []
        work(job, lambda report: told.append(report["text"]))
        assert (tmp_path / "engine").read_bytes() == b"engine"
        return told

    return SimpleNamespace(
        api=api, build=build, file=tmp_path / "cache" / timings_name(api, job.request)
    )


def test_a_build_begins_with_the_timings_of_the_one_before(timed):
    assert not any("timings" in text for text in timed.build() + timed.build() + timed.build())
    assert timed.api.given == [b"", b"1", b"2"]


def test_damaged_timings_are_left_out_and_it_is_said(timed):
    timed.build()
    timed.file.write_bytes(timed.file.read_bytes()[:-1])
    assert "timings of former builds are damaged: begins anew" in timed.build()
    assert timed.api.given == [b"", b""]
    assert not any("timings" in text for text in timed.build())


def test_timings_of_another_gpu_are_left_out_and_it_is_said(timed):
    for _ in range(3):
        timed.build()
    assert any("another GPU or version" in text for text in timed.build())


def test_timings_are_kept_apart_by_library_version_and_gpu():
    names = {
        timings_name(
            SimpleNamespace(flavour=flavour, version=version), BuildRequest("fp32", target=gpu)
        )
        for flavour in ("tensorrt", "tensorrt-rtx")
        for version in ("10.3.0", "10.13.0")
        for gpu in ("Orin (sm_87, 8 GiB)", "Orin (sm_87, 16 GiB)")
    }
    assert len(names) == 8
    assert not any("/" in name or " " in name for name in names)


# One at a time


def test_one_build_at_a_time_and_who_waits_is_told(tmp_path):
    told = queue.SimpleQueue()
    inside = []

    def second():
        with build_lock(FileCache(tmp_path), lambda *report: told.put(report)):
            inside.append("second")

    thread = threading.Thread(target=second)
    with build_lock(FileCache(tmp_path), quiet):
        thread.start()
        assert told.get(timeout=PATIENCE_S) == (None, "waiting for another build")
        inside.append("first")
    thread.join(PATIENCE_S)
    assert inside == ["first", "second"]


def test_the_lock_of_a_process_that_was_killed_is_free(tmp_path):
    program = (
        "import sys, pathlib\n"
        "from codesign_ros.engines.tensorrt.build_process import build_lock\n"
        "from codesign_ros.engines.cache import FileCache\n"
        "with build_lock(FileCache(pathlib.Path(sys.argv[1])), print):\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, tmp_path],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as holder:  # fmt: skip
        assert holder.stdout.readline() == "held\n"
        waited = []

        def progress(fraction, text):
            waited.append(text)
            holder.kill()

        with build_lock(FileCache(tmp_path), progress):
            assert waited[0] == "waiting for another build"


# The GPU to build on


@pytest.mark.parametrize(
    ("visible", "gpu", "expected"),
    [
        (None, 0, "0"),
        (None, 1, "1"),
        ("", 1, "1"),
        ("2,3", 1, "3"),
        ("GPU-8932f937,GPU-1a2b", 0, "GPU-8932f937"),
        (None, None, None),
        ("1", None, "1"),
    ],
)
def test_the_process_sees_the_gpu_it_builds_on_alone(monkeypatch, visible, gpu, expected):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    environment = build_process._environment(BuildRequest("fp32", gpu=gpu))
    assert environment.get("CUDA_VISIBLE_DEVICES") == expected
