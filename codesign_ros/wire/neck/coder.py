"""The entropy coder: the C library where it was built, else Python, to the same bytes."""

from __future__ import annotations

import ctypes
import logging
from functools import cache
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.ctypeslib import ndpointer

import codesign_ros
from codesign_ros.wire.neck import plain

_log = logging.getLogger(__name__)

LIBRARY = "librans.so"
# Of rans_interface() in rans.c; a library of another build of the package may be found first.
_INTERFACE = 1

_SYMBOLS = ndpointer(np.uint8, ndim=1, flags="C_CONTIGUOUS")
_ROWS = ndpointer(np.uint16, ndim=1, flags="C_CONTIGUOUS")
_TABLE = ndpointer(np.uint32, ndim=2, flags="C_CONTIGUOUS")


class Coder(Protocol):
    """What codes symbols (uint8 (n,)) of which each has its row (uint16 (n,)) of a table.

    The table (uint32 (rows, symbols + 1)) has cumulative frequencies from 0 to 2^16, each above the
    one before. Rows and symbols must be of the table: that is not looked at again.
    """

    def encode(self, symbols: np.ndarray, rows: np.ndarray, cumulative: np.ndarray) -> bytes:
        """Write symbols."""

    def decode(
        self, data: memoryview, rows: np.ndarray, cumulative: np.ndarray, likely: int
    ) -> np.ndarray | None:
        """Read as many symbols (uint8) as there are rows, which must take all of ``data``.

        Args:
            data: any bytes.
            rows: of each symbol.
            cumulative: the table.
            likely: where the search for a symbol begins; what is found does not depend on it.

        Returns:
            The symbols; None where they do not end where the data does.
        """


class NativeCoder:
    """The coder in C; other threads run while it does.

    Raises:
        OSError: the library cannot be loaded, or is of another build of the package.
    """

    def __init__(self, path: Path) -> None:
        library = ctypes.CDLL(str(path))
        if library.rans_interface() != _INTERFACE:
            raise OSError(f"{path} is of another build of the package")
        size = ctypes.c_ssize_t
        self._encode, self._decode = library.rans_encode, library.rans_decode
        self._encode.restype = size
        self._encode.argtypes = [_SYMBOLS, _ROWS, size, _TABLE, size, _SYMBOLS, size]
        self._decode.argtypes = [_SYMBOLS, size, _ROWS, size, _TABLE, size, size, _SYMBOLS]

    def encode(self, symbols: np.ndarray, rows: np.ndarray, cumulative: np.ndarray) -> bytes:
        """Write symbols; see ``Coder``."""
        # The rarest symbol takes 16 bits, and rounding 1/64 of a bit.
        out = np.empty(plain.STATE_BYTES + 2 * symbols.size + symbols.size // 512 + 1, np.uint8)
        length = self._encode(
            symbols, rows, symbols.size, cumulative, cumulative.shape[1], out, out.size
        )
        return out[out.size - length :].tobytes()

    def decode(
        self, data: memoryview, rows: np.ndarray, cumulative: np.ndarray, likely: int
    ) -> np.ndarray | None:
        """Read symbols; see ``Coder``."""
        symbols = np.empty(rows.size, np.uint8)
        wrong = self._decode(
            np.frombuffer(data, np.uint8), len(data), rows, rows.size,
            cumulative, cumulative.shape[1], likely, symbols,
        )  # fmt: skip
        return None if wrong else symbols


def native_coder() -> NativeCoder:
    """Load the coder in C from beside this module, in the source tree or where it is installed.

    Raises:
        OSError: none of them has one that can be used.
    """
    problems = []
    for package in codesign_ros.__path__:
        path = Path(package, "wire", "neck", LIBRARY)
        try:
            return NativeCoder(path)
        except OSError as error:
            problems.append(str(error))
    raise OSError("; ".join(problems))


@cache
def coder() -> Coder:
    """The coder of this process; if it is the slow one, the log says so once."""
    try:
        return native_coder()
    except OSError as error:
        _log.warning(
            "necks are coded in Python, slower by far, since the coder in C was not built; "
            "build the package again (`make setup`, colcon or pip) with a C compiler (%s)",
            error,
        )
        return plain
