"""The process that builds one engine: ``python -m codesign_ros.engines.tensorrt.worker``.

It reads a ``Job`` as JSON from standard input and writes reports to standard output, one JSON
object a line: ``{"fraction": 0.5, "text": "..."}`` while it works, ``{"error": "..."}`` where that
was in vain. It imports no torch, no ROS and no bundle: the piece of ONNX lies in a file.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from codesign_ros.engines.cache import FileCache
from codesign_ros.engines.standing_back import stand_back
from codesign_ros.engines.tensorrt.build import build_engine
from codesign_ros.engines.tensorrt.request import BuildRequest
from codesign_ros.engines.tensorrt.versions import Api, load_api
from codesign_ros.types.errors import CodesignError


@dataclass(frozen=True)
class Job:
    """What the process is to do.

    Attributes:
        request: how to build.
        piece: file with the piece of ONNX.
        engine: file to write the engine to.
        cache_dir: where timings of former builds are kept.
        parent: process id of who asks; the build ends when that process does.
    """

    request: BuildRequest
    piece: str
    engine: str
    cache_dir: str
    parent: int

    def to_json(self) -> str:
        """Return the job as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Job:
        """Read what ``to_json`` wrote."""
        fields = json.loads(text)
        return cls(**{**fields, "request": BuildRequest(**fields["request"])})


def work(job: Job, report: Any) -> None:
    """Build the engine and write it to its file.

    Args:
        job: what to do.
        report: called with each report.

    Raises:
        CodesignError: it cannot be built.
    """

    def progress(fraction: float | None, text: str) -> None:
        report({"fraction": fraction, "text": text})

    progress(None, "loading TensorRT")
    api = load_api()
    timings = FileCache(Path(job.cache_dir))
    name = timings_name(api, job.request)
    known = timings.get(name)
    if known is None and (timings.directory / name).exists():
        progress(None, "timings of former builds are damaged: begins anew")
    piece = Path(job.piece).read_bytes()
    built = build_engine(api, piece, job.request, known or b"", progress)
    Path(job.engine).write_bytes(built.engine)
    if built.timing_cache:
        timings.put(name, built.timing_cache)


def timings_name(api: Api, request: BuildRequest) -> str:
    """Return the name of the file with the timings of former builds."""
    gpu = "".join(each if each.isalnum() else "-" for each in request.target)
    return f"{api.flavour}-{api.version}-{gpu}.timings.cache"


def main() -> int:
    """Do the job on standard input; return the exit status."""
    job = Job.from_json(sys.stdin.read())
    if not stand_back(job.parent):
        return 1
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # TensorRT would not let Python see it for long
    # Libraries that print must not print between the reports.
    reports = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def report(fields: dict[str, Any]) -> None:
        reports.write(json.dumps(fields) + "\n")
        reports.flush()

    try:
        work(job, report)
    except CodesignError as error:
        report({"error": str(error)})
        return 1
    except MemoryError:
        report({"error": "the engine cannot be built: out of memory; close other programs"})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
