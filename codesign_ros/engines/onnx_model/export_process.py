"""Exports a network in a process of its own: ``python -m ...export_process BUNDLE CACHE HALF...``.

An export takes a core for some seconds, and in INT8 for many, and loads PyTorch. Done in a node it
would be in the way of the frames, and the node would stay as large as it was then.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from codesign_ros.bundle import Bundle
from codesign_ros.engines.base import EngineKey
from codesign_ros.engines.factory import open_backend
from codesign_ros.engines.standing_back import stand_back
from codesign_ros.types.errors import CodesignError, one_line
from codesign_ros.types.forms import Merge, Structure

# How long ``progress`` may hear nothing, so that whoever wants to stop it soon can.
_SILENCE_S = 0.5


def export_in_process(
    bundle: Path,
    cache_dir: Path,
    key: EngineKey,
    progress: Callable[[float | None, str], None],
) -> None:
    """Have the network that a half is cut out of exported into the cache.

    The thread that calls this has to live until it returns: the kernel ends the process with it.

    Args:
        bundle: the network.
        cache_dir: where it is kept.
        key: the half.
        progress: told what is going on, twice a second; what it raises ends the process.

    Raises:
        CodesignError: it cannot be exported, or the process ended without a word.
    """
    form = (str(key.cut), key.structure.value, key.merge.value, key.precision)
    command = [sys.executable, "-m", "codesign_ros.engines.onnx_model.export_process"]
    command += [str(bundle), str(cache_dir), str(os.getpid()), key.part, *form, str(int(key.neck))]
    # The process finds this package wherever this one did.
    path = os.pathsep.join(map(os.path.abspath, sys.path))
    with (
        tempfile.TemporaryFile() as complaints,
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=complaints,
            env={**os.environ, "PYTHONPATH": path},
        ) as process,
    ):
        try:
            while process.poll() is None:
                progress(None, "exporting")
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_SILENCE_S)
        except BaseException:
            process.kill()
            raise
        if process.returncode != 0:
            raise CodesignError(_end(process.returncode, complaints))


def _end(status: int, complaints: IO[bytes]) -> str:
    """What went wrong, in one line."""
    if status < 0:
        return f"the export of the network was killed by {signal.Signals(-status).name}"
    complaints.seek(0)
    last = complaints.read().decode(errors="replace").strip().rpartition("\n")[2]
    return one_line(last) or f"the export of the network ended with status {status}"


def main(arguments: Sequence[str]) -> int:
    """Export what is asked for; returns the exit status."""
    bundle, cache_dir, parent, part, cut, structure, merge, precision, neck = arguments
    if not stand_back(int(parent)):
        return 1
    key = EngineKey(
        "head" if part == "head" else "tail",
        int(cut),
        Structure(structure),
        Merge(merge),
        precision,
        neck == "1",
    )
    try:
        open_backend(Bundle.open(Path(bundle)), "onnxruntime", Path(cache_dir)).prepare(key)
    except CodesignError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
