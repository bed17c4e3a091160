"""Finds the package's own files: messages, configuration, bundles, bags, launch files.

The same code runs from a source tree, from a colcon installation and from a wheel; each keeps these
files elsewhere.
"""

from __future__ import annotations

from pathlib import Path

from codesign_ros.types.errors import CodesignError

KINDS = ("msg", "config", "bundles", "bags", "launch")

_DEFAULT_BUNDLE = "mine_yolo.bundle"


def resource_path(kind: str) -> Path:
    """The directory that holds the package's files of one kind.

    Looked for in this order: the source tree that holds this package, the
    ``share/codesign_ros`` of the colcon prefix it is installed under, the package's own ``share``.

    Args:
        kind: One of `KINDS`.

    Raises:
        CodesignError: There is no such directory, or no such kind.
    """
    if kind not in KINDS:
        raise CodesignError(f"no resources of kind '{kind}'; known are {', '.join(KINDS)}")
    package = Path(__file__).resolve().parent
    places = _places(package, kind)
    for place in places:
        if place.is_dir():
            return place
    looked = ", ".join(str(place) for place in places)
    raise CodesignError(f"the package's '{kind}' directory is missing (looked in {looked})")


def default_bundle() -> Path:
    """The model bundle that is used where none is named.

    Raises:
        CodesignError: The package's bundles are not there.
    """
    return resource_path("bundles") / _DEFAULT_BUNDLE


def _places(package: Path, kind: str) -> list[Path]:
    """Where the directory may be for a package at ``package``, best first."""
    places = []
    # Only beside pyproject.toml: a directory of this name in site-packages is somebody else's.
    if (package.parent / "pyproject.toml").is_file():
        places.append(package.parent / kind)
    prefix = _prefix(package)
    if prefix is not None:
        places.append(prefix / "share" / "codesign_ros" / kind)
    places.append(package / "share" / kind)
    return places


def _prefix(package: Path) -> Path | None:
    """PREFIX of PREFIX/lib/python3.x/site-packages/codesign_ros (or PREFIX/local/lib/...)."""
    for ancestor in package.parents:
        if ancestor.name == "lib":
            above = ancestor.parent
            return above.parent if above.name == "local" else above
    return None
