"""Pictures and label files of data sets on disk, looked at before anything is decoded."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from codesign_ros.data.images import orientation_of, upright
from codesign_ros.pixels.decode import (
    ImageError,
    compressed_encoding,
    compressed_size,
    picture_end,
    to_rgb,
)
from codesign_ros.types.errors import CodesignError, one_line

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
SPLIT_FOLDERS = ("train", "val", "valid", "validation", "test")
"""Folders that hold a part of a data set each."""

# Pictures that other programs know and this package does not decode: refused, not overlooked.
_OTHER_SUFFIXES = (".bmp", ".gif", ".pgm", ".ppm", ".tif", ".tiff", ".webp")
# A header is nearly always in the first bytes; where a profile makes it longer, all is read.
_HEAD_BYTES = 1 << 16
# What a whole picture usually ends with; where something is behind that, all is read.
_ENDS = (b"\xff\xd9", b"IEND\xaeB`\x82")
# Marks at the start of a text, and what they say; UTF-32's begins as UTF-16's does.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_XML_ENCODING = re.compile(rb"""\s*<\?xml\b[^>]*?\bencoding\s*=\s*["']([\w.:-]+)["']""", re.ASCII)


class DataSetError(CodesignError):
    """A labelled data set, or a file of it, that cannot be used; one line says where and why."""


@dataclass(frozen=True)
class ImageFile:
    """A picture in a file; ``open_image`` makes one.

    Attributes:
        path: A JPEG or PNG file.
        height: Rows of the picture as ``load`` returns it [px].
        width: Columns [px].
        orientation: EXIF orientation (1 to 8) by which ``load`` turns the stored picture upright;
            1 = as it is stored.
    """

    path: Path
    height: int
    width: int
    orientation: int = 1

    def read(self) -> tuple[bytes, str]:
        """Return the file's bytes and their encoding, ``jpeg`` or ``png``.

        Raises:
            DataSetError: The file cannot be read, or is neither.
        """
        try:
            data = self.path.read_bytes()
            return data, compressed_encoding(data)
        except (OSError, ImageError) as error:
            raise DataSetError(f"image {self.path} cannot be read: {_reason(error)}") from error

    def load(self) -> np.ndarray:
        """Decode the picture.

        Returns:
            uint8 (height, width, 3) RGB, contiguous.

        Raises:
            DataSetError: The file cannot be read or decoded, or is not what it was when the set
                was opened.
        """
        data, encoding = self.read()
        try:
            stored = to_rgb(data, encoding)
        except ImageError as error:
            raise DataSetError(f"image {self.path} cannot be read: {error}") from error
        rgb = np.ascontiguousarray(upright(stored, self.orientation))
        if rgb.shape != (self.height, self.width, 3):
            raise DataSetError(f"image {self.path} has changed since its data set was opened")
        return rgb


def open_image(path: Path, stated_size: tuple[int, int] | None = None) -> ImageFile:
    """Look at a picture's header; nothing is decoded.

    Labelling programs show a JPEG turned as its EXIF orientation says, and so does OpenCV by
    default; boxes are therefore taken to be in pixels of the upright picture. Where the annotation
    states the size of the picture and that is the size as stored, the boxes are too.

    Args:
        path: A JPEG or PNG file.
        stated_size: (height, width) of the picture by its annotation, if that says so [px].

    Returns:
        The picture.

    Raises:
        DataSetError: The file is missing or no such picture, is cut off, or has another size.
    """
    try:
        head, end = _ends_of(path)
        encoding = compressed_encoding(head)
        try:
            height, width = compressed_size(head)
        except ImageError:
            head = path.read_bytes()
            height, width = compressed_size(head)
        if not end.endswith(_ENDS):
            picture_end(path.read_bytes())
    except FileNotFoundError:
        raise DataSetError(f"image {path} does not exist") from None
    except (OSError, ImageError) as error:
        raise DataSetError(f"image {path} cannot be read: {_reason(error)}") from error
    orientation = orientation_of(head) if encoding == "jpeg" else 1
    upright = (width, height) if orientation >= 5 else (height, width)
    if stated_size == (height, width) != upright:
        orientation, upright = 1, (height, width)
    if stated_size is not None and stated_size != upright:
        raise DataSetError(
            f"image {path} is {upright[1]}x{upright[0]}, its annotation was made for "
            f"{stated_size[1]}x{stated_size[0]}: the boxes do not fit it"
        )
    return ImageFile(path, *upright, orientation)


def images_by_stem(folder: Path, *, nested: bool = False) -> dict[str, Path]:
    """List the pictures of a folder, sorted, by their names without suffix.

    Args:
        folder: which.
        nested: with those of the folders inside, whose names then go before the picture's.

    Raises:
        DataSetError: The folder cannot be read, has pictures in another format, or two whose names
            differ in the suffix only: which one would a label file mean?
    """
    found: dict[str, Path] = {}
    for path in images_of(files_inside(folder) if nested else entries(folder)):
        stem = stem_inside(path, folder)
        if stem in found:
            raise DataSetError(f"{found[stem]} and {path.name} would share one label file")
        found[stem] = path
    return found


def images_of(files: Iterable[Path]) -> Iterator[Path]:
    """Yield those of some files that are pictures by their names.

    Raises:
        DataSetError: One is a picture in another format.
    """
    for path in files:
        suffix = path.suffix.lower()
        if suffix in _OTHER_SUFFIXES:
            raise DataSetError(f"image {path} is neither JPEG nor PNG; convert it or take it away")
        if suffix in IMAGE_SUFFIXES:
            yield path


def stem_inside(path: Path, folder: Path) -> str:
    """Return the name of a file as seen from a folder, without its suffix."""
    return path.relative_to(folder).with_suffix("").as_posix()


def files_inside(folder: Path) -> list[Path]:
    """List the files of a folder and of those inside, sorted; what is hidden is left alone.

    Raises:
        DataSetError: One cannot be read.
    """
    found = []
    for path in entries(folder):
        found += files_inside(path) if path.is_dir() else [path]
    return found


def entries(folder: Path) -> list[Path]:
    """List a folder, sorted by name; what is hidden is left alone.

    Raises:
        DataSetError: It cannot be read.
    """
    try:
        # A Mac puts a hidden ._a.jpg beside a.jpg on disks that are not its own.
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise DataSetError(f"folder {folder} cannot be read: {_reason(error)}") from None


def read_text(path: Path) -> str:
    """Read a label file: in the encoding that it declares by a mark or as XML does, else UTF-8.

    Raises:
        DataSetError: It cannot be read, or is no such text.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataSetError(f"{path} cannot be read: {_reason(error)}") from None
    declared = _XML_ENCODING.match(data)
    marked = (encoding for mark, encoding in _MARKS if data.startswith(mark))
    encoding = next(marked, declared[1].decode() if declared else "utf-8")
    try:
        return data.decode(encoding)
    except LookupError:
        said = f"{path} says that it is written in '{encoding}', which is no known encoding"
        raise DataSetError(said) from None
    except UnicodeError:  # punycode and its like raise no UnicodeDecodeError
        raise DataSetError(f"{path} is not {encoding.upper()} text") from None


def _ends_of(path: Path) -> tuple[bytes, bytes]:
    """First and last bytes of a file; they overlap in a short one."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
        size = file.seek(0, 2)
        file.seek(max(0, size - max(map(len, _ENDS))))
        return head, file.read()


def _reason(error: Exception) -> str:
    return (isinstance(error, OSError) and error.strerror) or one_line(error)
