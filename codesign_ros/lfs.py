"""What Git LFS leaves in the place of a file that was not fetched."""

from __future__ import annotations

LFS_POINTER = b"version https://git-lfs.github.com/spec/"
"""What a file begins with that was cloned without its content (git-lfs/docs/spec.md)."""
