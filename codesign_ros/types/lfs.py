"""What Git LFS leaves in the place of a file that was not fetched."""

from __future__ import annotations

from pathlib import Path

_POINTER = b"version https://git-lfs.github.com/spec/"
"""What a file begins with that was cloned without its content (git-lfs/docs/spec.md)."""


def is_lfs_pointer(file: Path) -> bool:
    """Whether Git LFS left a line about a file in its place.

    Raises:
        OSError: it cannot be read.
    """
    with file.open("rb") as stream:
        return stream.read(len(_POINTER)) == _POINTER
