"""Files that are costly to make, kept on disk under the hash of what they were made from."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from codesign_ros.types.errors import CodesignError

_log = logging.getLogger(__name__)

# Why a directory that was good enough yesterday takes nothing today.
TAKES_NOTHING = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)
DIGEST_BYTES = hashlib.sha256().digest_size
"""How much of a file in the cache comes before what was put there."""

# How often one who waits for a lock looks again.
_LOCK_INTERVAL_S = 0.5


class CacheError(CodesignError):
    """The directory of a cache cannot be used, which may change."""


def default_cache_dir() -> Path:
    """Return ``$CODESIGN_CACHE_DIR`` if it is set, else ``~/.cache/codesign_ros``.

    Raises:
        CacheError: neither is known, as of a container's user without a name.
    """
    if named := os.environ.get("CODESIGN_CACHE_DIR"):
        return Path(named)
    home = os.path.expanduser("~")
    if home == "~":
        raise CacheError("this user has no home folder: name one in CODESIGN_CACHE_DIR")
    return Path(home) / ".cache" / "codesign_ros"


class FileCache:
    """Maps a key (a file name) to bytes.

    Each file starts with the SHA-256 of the rest, so a damaged file counts as not there. Files
    appear whole or not at all, so several processes may share the directory.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def get(self, key: str) -> bytes | None:
        """Return what was put under ``key``, or None if there is nothing or it is damaged.

        Raises:
            CacheError: the directory cannot be read.
        """
        try:
            stored = (self.directory / key).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unusable(error) from error
        data = stored[DIGEST_BYTES:]
        return data if hashlib.sha256(data).digest() == stored[:DIGEST_BYTES] else None

    def put(self, key: str, data: bytes) -> None:
        """Store ``data`` under ``key``.

        Raises:
            CacheError: the directory cannot be written.
        """
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=self.directory, prefix=f".{key}.")
            try:
                os.chmod(handle, 0o644)  # a bundle with it may be another user's
                with os.fdopen(handle, "wb") as file:
                    file.write(hashlib.sha256(data).digest())
                    file.write(data)
                os.replace(temporary, self.directory / key)
            except BaseException:
                os.unlink(temporary)
                raise
        except OSError as error:
            raise self._unusable(error) from error

    def keep(self, key: str, data: bytes) -> None:
        """Store ``data`` where the directory takes it; where it is full or read-only, warn.

        Raises:
            CacheError: it is no directory, which somebody named by mistake.
        """
        try:
            self.put(key, data)
        except CacheError as error:
            cause = error.__cause__
            if not isinstance(cause, OSError) or cause.errno not in TAKES_NOTHING:
                raise
            _log.warning("nothing is kept, so it is made anew at the next start: %s", error)

    @contextmanager
    def locked(self, name: str, waiting: Callable[[], None]) -> Iterator[None]:
        """Hold the lock of this name, which one thread of one process can at a time.

        Args:
            name: of the lock's file, which stays.
            waiting: called again and again while another holds it. What it raises ends the wait.

        Raises:
            CacheError: the directory cannot be written.
        """
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            file = (self.directory / name).open("a")
        except OSError as error:
            raise self._unusable(error) from error
        with file:  # to close it is to let go of the lock, and so is the end of the process
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    waiting()
                    time.sleep(_LOCK_INTERVAL_S)
            yield

    def _unusable(self, error: OSError) -> CacheError:
        return CacheError(
            f"engine cache {self.directory} cannot be used: {error.strerror}; "
            "name another directory in CODESIGN_CACHE_DIR"
        )
