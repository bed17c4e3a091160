"""A measurement of hours that can be broken off: what is done is kept in a file."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from codesign_ros.cost.accuracy import AccuracyTable
from codesign_ros.cost.accuracy_row import AccuracyRow
from codesign_ros.models.network import Network, weights_of
from codesign_ros.types import CodesignError

# Raise it when the same call measures something else.
_VERSION = 2


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


class Resumable:
    """Rows by form; each form's are written to the file as soon as they are there.

    Args:
        file: where; None = nowhere.
        fingerprint: says of which measurement; called only where there is a file.

    Attributes:
        rows: what is done.

    Raises:
        CodesignError: the file is of another measurement or cannot be read.
    """

    def __init__(self, file: Path | None, fingerprint: Callable[[], str]) -> None:
        self.rows: dict[tuple, list[AccuracyRow]] = {}
        self._file = file
        self._fingerprint = fingerprint() if file is not None else ""
        if file is not None and file.exists():
            self._read(file)

    def add(self, form: tuple, rows: list[AccuracyRow]) -> None:
        """Note a form's rows.

        Raises:
            CodesignError: the file cannot be written.
        """
        self.rows[form] = rows
        if self._file is None:
            return
        done = tuple(row for some in self.rows.values() for row in some)
        table = json.loads(AccuracyTable("", 0.0, "", done).to_json())
        text = json.dumps({"measurement": self._fingerprint, "rows": table["rows"]}, indent=1)
        temporary = self._file.with_name(self._file.name + ".new")
        try:
            temporary.write_text(text + "\n", encoding="utf-8")
            os.replace(temporary, self._file)
        except OSError as error:
            raise CodesignError(f"cannot write {self._file}: {error.strerror}") from None

    def _read(self, file: Path) -> None:
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            same = content["measurement"] == self._fingerprint
            text = json.dumps({"metric": "", "reference": 0, "data": "", "rows": content["rows"]})
            rows = AccuracyTable.from_json(text).rows
        except OSError as error:
            raise CodesignError(f"cannot read {file}: {error.strerror}") from None
        except (ValueError, KeyError, TypeError, CodesignError):
            raise CodesignError(f"{file} is no measurement that can go on; delete it") from None
        if not same:
            raise CodesignError(
                f"{file} is of another measurement (network, frames, cuts or forms differ); name "
                "another file or delete it"
            )
        for row in rows:
            form = (row.head_structure, row.merge, row.precision)
            self.rows.setdefault(form, []).append(row)
