"""Builds an engine in a process of its own.

A build takes much memory, and TensorRT's builder may crash; neither is to end a node. The process
is niced, ends with its parent, and only one at a time runs on a machine.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path
from typing import IO

from codesign_ros.engines.cache import FileCache
from codesign_ros.engines.tensorrt.reports import Progress
from codesign_ros.engines.tensorrt.request import BuildRequest
from codesign_ros.engines.tensorrt.worker import Job
from codesign_ros.types.errors import CodesignError, one_line

# How long ``progress`` may hear nothing, so that whoever wants to stop a build soon can.
_SILENCE_S = 0.5


def build_lock(cache: FileCache, progress: Progress) -> AbstractContextManager[None]:
    """Return the lock that keeps builds into one directory apart; ``progress`` is told of a wait.

    Raises:
        CodesignError: (on entry) the directory cannot be written.
    """
    return cache.locked(".build.lock", lambda: progress(None, "waiting for another build"))


def build_in_process(
    piece: bytes, request: BuildRequest, cache_dir: Path, progress: Progress
) -> bytes:
    """Build an engine in a process of its own; the caller holds ``build_lock``.

    The thread that calls this has to live until it returns: the kernel ends the process with it.

    Args:
        piece: the piece of ONNX, see ``build_engine``.
        request: how to build it.
        cache_dir: where timings of former builds are kept.
        progress: told how far it is and what is going on, at least twice a second. What it raises
            stops the build and comes out here.

    Returns:
        The engine, serialised.

    Raises:
        CodesignError: it cannot be built, or the process ended without a word.
    """
    with ExitStack() as stack:
        try:
            name = stack.enter_context(tempfile.TemporaryDirectory(prefix="codesign_build_"))
            directory = Path(name)
            (directory / "piece.onnx").write_bytes(piece)
            complaints = stack.enter_context((directory / "complaints").open("w+b"))
        except OSError as error:
            raise CodesignError(
                f"no engine can be built in {tempfile.gettempdir()}: {error.strerror}; "
                "name another directory in TMPDIR"
            ) from error
        job = Job(
            request=request,
            piece=str(directory / "piece.onnx"),
            engine=str(directory / "engine"),
            cache_dir=str(cache_dir),
            parent=os.getpid(),
        )
        _run(job, complaints, progress)
        return Path(job.engine).read_bytes()


def _run(job: Job, complaints: IO[bytes], progress: Progress) -> None:
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    with subprocess.Popen(
        [sys.executable, "-m", "codesign_ros.engines.tensorrt.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=complaints,
        text=True,
        env=_environment(job.request),
    ) as process:
        reader = threading.Thread(
            target=_read, args=(process.stdout, lines), name="build reports", daemon=True
        )
        reader.start()
        try:
            assert process.stdin is not None
            # If the process has ended already, its exit status says how.
            with suppress(BrokenPipeError), process.stdin:
                process.stdin.write(job.to_json())
            failure = _follow(lines, progress)
        except BaseException:
            process.kill()
            raise
        finally:
            reader.join()  # it has the output open, which is closed next
    if failure is not None:
        raise CodesignError(failure)
    if process.returncode != 0:
        raise CodesignError(_end(process.returncode, complaints))


def _read(output: IO[str], lines: queue.SimpleQueue[str | None]) -> None:
    """Put the lines of a process in a queue, and None when it has ended."""
    for line in output:
        lines.put(line)
    lines.put(None)


def _follow(lines: queue.SimpleQueue[str | None], progress: Progress) -> str | None:
    """Hand on what the process reports until it has nothing more to say; return its error."""
    latest: tuple[float | None, str] = (None, "starting")
    while True:
        try:
            line = lines.get(timeout=_SILENCE_S)
        except queue.Empty:
            progress(*latest)
            continue
        if line is None:
            return None
        report = json.loads(line)
        if "error" in report:
            return str(report["error"])
        latest = (report["fraction"], report["text"])
        progress(*latest)


def _environment(request: BuildRequest) -> dict[str, str]:
    """Return the environment in which the GPU to build on is the only one."""
    environment = dict(os.environ)
    if request.gpu is not None:
        visible = environment.get("CUDA_VISIBLE_DEVICES", "").split(",")
        if request.gpu < len(visible) and visible[request.gpu]:
            environment["CUDA_VISIBLE_DEVICES"] = visible[request.gpu]
        else:
            environment["CUDA_VISIBLE_DEVICES"] = str(request.gpu)
    # The process finds this package wherever this one did.
    environment["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, sys.path))
    return environment


def _end(status: int, complaints: IO[bytes]) -> str:
    """Return in words how a process ended that reported no error."""
    if status < 0:
        name = signal.Signals(-status).name
        why = {
            "SIGKILL": ", usually because memory ran out; close other programs, add swap, or "
            "build on a machine alike",
            "SIGINT": ", because it was interrupted; ask again",
            "SIGTERM": ", because it was told to; ask again",
        }.get(name, "; TensorRT crashed on this network: use another backend or precision for it")
        return f"the build of the engine was killed by {name}{why}"
    complaints.seek(0)
    last = complaints.read().decode(errors="replace").strip().rpartition("\n")[2]
    return f"the build of the engine ended with status {status}: {one_line(last) or 'no word'}"
