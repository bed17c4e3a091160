"""A measurement of minutes or hours that can be broken off: answers are kept as they come."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from codesign_ros.models.network import Network, weights_of
from codesign_ros.types.errors import CodesignError

# Raise it when the same call measures something else.
_VERSION = 3


def fingerprint(
    network: Network, images: Sequence[np.ndarray] | np.ndarray, *settings: object
) -> str:
    """Hash all that a measurement depends on.

    Args:
        network: what is measured.
        images: on which frames.
        settings: arrays, and values whose text says what they are.
    """
    digest = hashlib.sha256(f"{_VERSION}".encode())
    for name, weight in sorted(weights_of(network).items()):
        digest.update(name.encode())
        digest.update(weight.tobytes())
    for image in images:
        digest.update(np.ascontiguousarray(image).data)
    for each in settings:
        if isinstance(each, np.ndarray):
            digest.update(np.ascontiguousarray(each).data)
        else:
            digest.update(repr(each).encode())
    return digest.hexdigest()


class Journal:
    """Answers to frames by what was run; each is a line of the file as soon as it is there.

    Args:
        file: where; None = nowhere.
        fingerprint: says of which measurement; called only where there is a file.

    Raises:
        CodesignError: the file is of another measurement, or cannot be read or written.
    """

    def __init__(self, file: Path | None, fingerprint: Callable[[], str]) -> None:
        self._path = file
        self._kept: dict[str, dict[int, Any]] = {}
        self._file: IO[bytes] | None = None
        if file is None:
            return
        measurement = fingerprint()
        try:
            # Unbuffered: what was added is there, however the process ends.
            self._file = file.open("a+b", buffering=0)
            self._read(file, measurement)
        except OSError as error:
            raise CodesignError(f"cannot write {file}: {error.strerror}") from None

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def kept(self, run: str) -> dict[int, Any]:
        """Answers that were there when the file was opened, by the number of the frame."""
        return self._kept.get(run, {})

    def add(self, run: str, frame: int, answers: Any) -> None:
        """Note the answers to a frame, anything that JSON can hold.

        Raises:
            CodesignError: the file cannot be written.
        """
        self._write([run, frame, answers])

    def _write(self, content: Any) -> None:
        if self._file is None:
            return
        try:
            self._file.write(json.dumps(content, separators=(",", ":")).encode() + b"\n")
        except OSError as error:
            raise CodesignError(f"cannot write {self._path}: {error.strerror}") from None

    def _read(self, path: Path, measurement: str) -> None:
        assert self._file is not None
        text = path.read_bytes()
        # A process that was killed may have left half a line.
        whole = text.rfind(b"\n") + 1
        try:
            lines = [json.loads(line) for line in text[:whole].splitlines()]
            of = lines[0]["measurement"] if lines else measurement
            for run, frame, answers in lines[1:]:
                self._kept.setdefault(run, {})[int(frame)] = answers
        except (ValueError, KeyError, TypeError):
            lines, of, whole = [], measurement, 0
        if text and not lines:
            self._file.close()
            raise CodesignError(f"{path} is no measurement that can go on; delete it")
        if of != measurement:
            self._file.close()
            raise CodesignError(
                f"{path} is of another measurement (network, frames or truth differ); name another "
                "file with --checkpoint, or delete it"
            )
        self._file.truncate(whole)
        if not lines:
            self._write({"measurement": measurement})
