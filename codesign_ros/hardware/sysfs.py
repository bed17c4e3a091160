"""Small files of the kernel: absent, empty or unreadable is an answer here, never an error."""

from __future__ import annotations

import re
from pathlib import Path


def read_text(file: Path) -> str:
    """Content without what stands around it; empty if it cannot be read."""
    try:
        # Texts of the device tree end with a NUL byte.
        return file.read_text(encoding="utf-8", errors="replace").strip("\0 \t\r\n")
    except (OSError, ValueError):
        return ""


def read_int(file: Path) -> int | None:
    """Content as a whole number; None if it is none or cannot be read."""
    try:
        return int(read_text(file))
    except ValueError:
        return None


def entries(folder: Path, pattern: str) -> list[Path]:
    """What a folder holds by names that match wholly, in the order of their numbers."""
    try:
        found = [path for path in folder.iterdir() if re.fullmatch(pattern, path.name)]
    except OSError:
        return []
    return sorted(found, key=lambda path: [int(n) for n in re.findall(r"\d+", path.name)])
