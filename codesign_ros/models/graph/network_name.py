"""Networks as users name them; what is wrong with a name is known before torch is loaded."""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import PathFinder
from pathlib import Path

from codesign_ros.types.errors import CodesignError

ZOOS = ("torchvision", "timm")
"""Packages whose networks have names of their own, and weights to download."""

FORMS = "torchvision:NAME, timm:NAME, path/to/file.py:NAME or package.module:NAME"


def split_name(spec: str, *, pretrained: bool = False) -> tuple[str, str]:
    """Split a network's name into where it comes from and what it is called there.

    Args:
        spec: one of ``FORMS``.
        pretrained: whether it is to come with its weights.

    Raises:
        CodesignError: it is written otherwise, there is no such file or package, or it comes
            without weights. Its code is not run.
    """
    source, colon, name = spec.rpartition(":")
    if not colon or not source or not name:
        raise CodesignError(f"network {spec!r} is not written as {FORMS}")
    if source in ZOOS:
        return source, name
    if pretrained:
        raise CodesignError(
            "only torchvision and timm have pretrained weights; give a file with --weights"
        )
    top = source.partition(".")[0]
    if source.endswith(".py"):
        if not Path(source).is_file():
            raise CodesignError(f"there is no file {source}")
    elif top not in sys.modules and not (
        top and (importlib.util.find_spec(top) or PathFinder.find_spec(top, [str(Path.cwd())]))
    ):
        raise CodesignError(f"{source} cannot be imported: there is no package {top!r}")
    return source, name
