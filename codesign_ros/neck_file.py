"""What a bundle holds of its necks (see ``models.neck``): one file each, and what it says of it.

::

    neck_CUT.safetensors   encoder.*, decoder.*  float32, the weights; encoder.0.*, encoder.1.* and
                                                 so on where several maps cross
                           gains, frequencies    see ``wire.neck.tables.CodeTables``
                           frequencies_after     its ``after``, where films were counted
                           tail.*                parameters of the segments behind ``enter``, by
                                                 their names in the network; not in every file

Reading the tables imports no torch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from codesign_ros.types.codec_names import NECK_CODECS
from codesign_ros.types.errors import CodesignError, one_line
from codesign_ros.types.tensors import NECK, TensorSpec
from codesign_ros.wire.neck.tables import CodeTables

_GAINS, _FREQUENCIES, _AFTER = "gains", "frequencies", "frequencies_after"
_TAIL = "tail."
_MOST_CODE, _MOST_SYMBOLS = 127, 2**24


@dataclass(frozen=True)
class NeckInfo:
    """One neck as ``model.yaml`` states it.

    Attributes:
        cut: where it is; the head runs the segments up to it and the encoder.
        enter: the cut whose tensors the decoders make; the tail runs the decoders and the segments
            behind it.
        shape: (C, h, w) of the latent.
        levels: how many rates there are; 0 has the most bytes.
        largest_code: A: codes are -A..A.
        form: sizes of encoder and decoder, see ``models.neck.NeckForm``.
        sha256: of its file.
        own_tail: whether its file has parameters for the segments behind ``enter`` too.
    """

    cut: int
    enter: int
    shape: tuple[int, int, int]
    levels: int
    largest_code: int
    form: Mapping[str, Any]
    sha256: str
    own_tail: bool = False

    @property
    def spec(self) -> TensorSpec:
        """The tensor between encoder and decoder."""
        return TensorSpec(NECK, (1, *self.shape))

    @property
    def symbols(self) -> int:
        """Codes of a frame."""
        return self.spec.elements

    @property
    def file(self) -> str:
        """Name of its file in the bundle."""
        return f"neck_{self.cut}.safetensors"


def parse_necks(
    entries: Any, crossings: tuple[tuple[TensorSpec, ...], ...]
) -> tuple[NeckInfo, ...]:
    """Read what ``model.yaml`` says of the necks.

    Args:
        entries: its ``necks``.
        crossings: of the network, by cut.

    Returns:
        The necks, by cut.

    Raises:
        KeyError: a field is missing.
        TypeError, ValueError, OverflowError: a field is not what it should be.
    """
    if not isinstance(entries, list):
        raise TypeError("necks is not a list")
    necks = [
        NeckInfo(
            cut=int(entry["cut"]),
            enter=int(entry["enter"]),
            shape=_shape(entry["shape"]),
            levels=int(entry["levels"]),
            largest_code=int(entry["largest_code"]),
            form=dict(entry["form"]),
            sha256=str(entry["sha256"]),
            own_tail=bool(entry.get("own_tail", False)),
        )
        for entry in entries
    ]
    for neck in necks:
        _check(neck, crossings)
    if len({neck.cut for neck in necks}) != len(necks):
        raise ValueError("two necks have the same cut")
    return tuple(sorted(necks, key=lambda neck: neck.cut))


def described(neck: NeckInfo) -> dict[str, Any]:
    """Return what ``model.yaml`` says of a neck."""
    said = {**vars(neck), "shape": list(neck.shape), "form": dict(neck.form)}
    if not neck.own_tail:  # as before there were any
        del said["own_tail"]
    return said


def read_tables(bundle: Path, neck: NeckInfo) -> CodeTables:
    """Read gains and frequencies.

    Raises:
        CodesignError: the file is damaged, or not the one that ``model.yaml`` was written with.
    """
    file = check_file(bundle, neck)
    try:
        with safetensors.safe_open(file, "numpy") as stored:
            gains, frequencies = stored.get_tensor(_GAINS), stored.get_tensor(_FREQUENCIES)
            after = stored.get_tensor(_AFTER) if _AFTER in stored.keys() else None  # noqa: SIM118
        tables = CodeTables(gains, frequencies, -neck.largest_code, neck.shape, after)
        check_tables(tables, neck)
    except (safetensors.SafetensorError, CodesignError, OSError) as error:
        raise CodesignError(f"{file.name}: {one_line(error)}") from error
    return tables


def read_weights(bundle: Path, neck: NeckInfo) -> dict[str, np.ndarray]:
    """Read the weights of encoder and decoder, by name.

    Raises:
        CodesignError: as `read_tables`.
    """
    tensors = _read(bundle, neck)
    others = (_GAINS, _FREQUENCIES, _AFTER)
    return {n: t for n, t in tensors.items() if n not in others and not n.startswith(_TAIL)}


def read_tail(bundle: Path, neck: NeckInfo) -> dict[str, np.ndarray]:
    """Read the parameters of the segments behind a neck, by their names in the network.

    Returns:
        Float32; none where the neck has no tail of its own.

    Raises:
        CodesignError: as `read_tables`, or they are not what ``model.yaml`` states.
    """
    if not neck.own_tail:
        return {}
    tensors = _read(bundle, neck)
    tail = {n.removeprefix(_TAIL): t for n, t in tensors.items() if n.startswith(_TAIL)}
    if not tail:
        raise CodesignError(f"{neck.file} has no tail of its own, which model.yaml says it has")
    return {name: t.astype(np.float32) if t.dtype == np.float16 else t for name, t in tail.items()}


def check_tables(tables: CodeTables, neck: NeckInfo) -> None:
    """Raise CodesignError where tables are not those of a neck."""
    found = (tables.levels, tables.low, tables.high, tables.shape)
    if found != (neck.levels, -neck.largest_code, neck.largest_code, neck.shape):
        raise CodesignError(
            f"its tables are of {tables.levels} levels and codes {tables.low}..{tables.high}, "
            f"not of {neck.levels} and {-neck.largest_code}..{neck.largest_code}"
        )


def neck_bytes(
    weights: Mapping[str, np.ndarray], tables: CodeTables, tail: Mapping[str, np.ndarray]
) -> bytes:
    """Return the content of a neck's file; ``tail`` may be empty."""
    content = {**weights, _GAINS: tables.gains, _FREQUENCIES: tables.frequencies}
    content |= {f"{_TAIL}{name}": parameter for name, parameter in tail.items()}
    if tables.after is not None:
        content[_AFTER] = tables.after
    return safetensors.numpy.save({n: np.ascontiguousarray(t) for n, t in content.items()})


def check_file(bundle: Path, neck: NeckInfo) -> Path:
    """Return a neck's file, which is the one that ``model.yaml`` was written with.

    Raises:
        CodesignError: it is not there, or another.
    """
    file = bundle / neck.file
    try:
        found = hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise CodesignError(f"{file.name} cannot be read: {error.strerror}") from error
    if found != neck.sha256:
        raise CodesignError(
            f"{file.name} is not the file that model.yaml was written with (damaged, or from "
            "another bundle)"
        )
    return file


def _read(bundle: Path, neck: NeckInfo) -> dict[str, np.ndarray]:
    file = check_file(bundle, neck)
    try:
        tensors: dict[str, np.ndarray] = safetensors.numpy.load_file(file)
    except (safetensors.SafetensorError, OSError) as error:
        raise CodesignError(f"{file.name}: {one_line(error)}") from error
    return tensors


def _shape(value: Any) -> tuple[int, int, int]:
    channels, rows, columns = (int(each) for each in value)
    return channels, rows, columns


def _check(neck: NeckInfo, crossings: tuple[tuple[TensorSpec, ...], ...]) -> None:
    if not 1 <= neck.cut <= neck.enter < len(crossings) - 1:
        raise ValueError(f"a neck from cut {neck.cut} to {neck.enter} does not exist")
    answers = {spec.name for spec in crossings[-1]}
    for cut in (neck.cut, neck.enter):
        if any(len(spec.shape) != 4 or spec.name in answers for spec in crossings[cut]):
            raise ValueError(f"a neck at cut {cut}, which not maps alone cross")
    if min(neck.shape) < 1 or neck.symbols > _MOST_SYMBOLS:
        raise ValueError(f"a neck's latent of {neck.shape}")
    if not 1 <= neck.levels <= len(NECK_CODECS):
        raise ValueError(
            f"a neck of {neck.levels} rate levels, where 1 to {len(NECK_CODECS)} are possible: "
            "train it anew"
        )
    if not 1 <= neck.largest_code <= _MOST_CODE:
        raise ValueError(f"a neck with codes up to {neck.largest_code}")
