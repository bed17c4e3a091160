"""Places to write to, as types for argparse: what cannot be written is refused before any work.

Each is tried out: only making a file tells whether it can be made. What was made is taken away.
"""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from codesign_ros.types.errors import CodesignError


class Place:
    """Reads where to write; ``check`` then tries it, once all options are known.

    Args:
        trial: tries the place out; raises OSError or CodesignError.
    """

    def __init__(self, trial: Callable[[Path], None]) -> None:
        self._trial = trial

    def __call__(self, text: str) -> Path:
        """Read the path; argparse tells of the error."""
        if not text.strip() or "\0" in text:
            raise argparse.ArgumentTypeError(f"{text!r} names no file")
        return Path(text)

    def check(self, path: Path) -> None:
        """Try the place out.

        Raises:
            CodesignError: nothing can be written there.
        """
        try:
            self._trial(path)
        except OSError as error:
            raise CodesignError(f"cannot write {path}: {error.strerror}") from None


def check_places(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Try out all places that a command's options name.

    Raises:
        CodesignError: nothing can be written at one of them, or two are one file.
    """
    files: dict[str, str] = {}
    for action in parser._actions:
        path = getattr(options, action.dest, None)
        if isinstance(action.type, Place) and path is not None:
            action.type.check(path)
            option, real = action.option_strings or [action.dest], os.path.realpath(path)
            if path.is_file() or not path.exists():
                if real in files:
                    raise CodesignError(f"{files[real]} and {option[-1]} both write {path}")
                files[real] = option[-1]


def _try_file(path: Path) -> None:
    """Raise OSError if the file cannot be made or, where it is there, not be written."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        return  # A pipe and the like, whose real path names nothing.
    target = Path(os.path.realpath(path))
    if not target.exists():
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        target.unlink()
    else:
        # Opened to append: its content and its time stay.
        target.open("ab").close()


def _try_file_in_folder(path: Path) -> None:
    if not path.parent.is_dir():
        raise CodesignError(f"cannot write {path}: there is no folder {path.parent}; make it first")
    _try_file(path)


def _try_file_or_standard_output(path: Path) -> None:
    if path != STANDARD_OUTPUT:
        _try_file_in_folder(path)


def _try_file_in_new_folder(path: Path) -> None:
    with _folder(path.parent):
        _try_file(path)


def _try_figure(path: Path) -> None:
    from codesign_ros.whatif.pictures import check_suffix

    check_suffix(path)
    _try_file_in_folder(path)


def _try_folder(path: Path) -> None:
    with _folder(path):
        _try_file(path / ".codesign_tries_this_folder")


def _try_new_folder(path: Path) -> None:
    _try_folder(path)
    if path.is_dir() and any(path.iterdir()):
        raise CodesignError(f"{path} exists already; choose another name or remove it first")


def _try_bundle(path: Path) -> None:
    from codesign_ros.bundle import check_place

    check_place(path)
    _try_folder(path)


def _try_new_bundle(path: Path) -> None:
    _try_bundle(path)
    refuse_bundle(path)


def refuse_bundle(path: Path) -> None:
    """Refuse a place where a bundle is, which would be lost with its accuracy table.

    Raises:
        CodesignError: there is one.
    """
    from codesign_ros.bundle import holds_bundle

    if holds_bundle(path):
        raise CodesignError(f"{path} exists already; choose another name or remove it first")


@contextlib.contextmanager
def _folder(path: Path) -> Iterator[None]:
    """Have a folder for the while, made with those above it where they are missing.

    Raises:
        OSError: it cannot be made, or something else has its name.
    """
    missing = [each for each in (path, *path.parents) if not each.exists()]
    made: list[Path] = []
    try:
        for each in reversed(missing):
            each.mkdir()
            made.append(each)
        yield
    finally:
        for each in reversed(made):
            each.rmdir()


STANDARD_OUTPUT = Path("-")

OUTPUT_FILE = Place(_try_file_in_folder)
"""A file; one that is there will be replaced."""

OUTPUT_FILE_OR_STANDARD_OUTPUT = Place(_try_file_or_standard_output)
"""Likewise, or ``STANDARD_OUTPUT``."""

OUTPUT_FILE_IN_NEW_FOLDER = Place(_try_file_in_new_folder)
"""A file; folders on the way are made when it is written."""

FIGURE_FILE = Place(_try_figure)
"""A file of a picture: its suffix says as what it is drawn."""

OUTPUT_FOLDER = Place(_try_folder)
"""A folder for files; it is made when they are written."""

NEW_FOLDER = Place(_try_new_folder)
"""Likewise; there may be nothing in it yet."""

BUNDLE_FOLDER = Place(_try_bundle)
"""Likewise; nothing but a bundle may be there."""

NEW_BUNDLE_FOLDER = Place(_try_new_bundle)
"""Likewise; nothing may be there."""
