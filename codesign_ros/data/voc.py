"""Labels in the layout of Pascal VOC: one XML file for each picture.

::

    Annotations/*.xml   JPEGImages/*.jpg   [ImageSets/Main/train.txt, val.txt ...]
    or pictures and .xml side by side, in the folder itself or in train/, val/ ...

``images/`` will do for ``JPEGImages/``. Coordinates are taken as they are written, as the edges of
the box: programs that write this layout today count pixels from 0. (The challenge's own files count
from 1 and name the last pixel inside, so their boxes begin one pixel late.) Objects that are marked
``difficult`` are kept, and noted: they are in the picture, and a detector that finds them is right.
A picture without an .xml says nothing of what is in it: it is left out, and noted.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from xml.etree import ElementTree

from codesign_ros.data.annotations import Collector, DetectionSet, Label, is_marked
from codesign_ros.data.image_files import (
    SPLIT_FOLDERS,
    DataSetError,
    entries,
    files_inside,
    images_by_stem,
    open_image,
    read_text,
    stem_inside,
)

_CORNERS = ("xmin", "ymin", "xmax", "ymax")


class _Part(NamedTuple):
    """Folders of .xml files and of pictures that belong together; ``split`` may be empty."""

    split: str
    labels: Path
    images: Path

    @property
    def nested(self) -> bool:
        """Whether folders inside belong to it: not where labels lie beside pictures."""
        return self.labels != self.images


@dataclass(frozen=True)
class VocFolder:
    """A folder in this layout; ``find`` makes one.

    Attributes:
        path: The folder.
        splits: Names of its parts, such as train and val; may be empty.
    """

    path: Path
    splits: tuple[str, ...]
    _parts: tuple[_Part, ...]
    _lists: Path

    @classmethod
    def find(cls, path: Path) -> VocFolder | None:
        """Return the data set at ``path``, None if it has no such layout."""
        if not path.is_dir():
            return None
        lists = path / "ImageSets" / "Main"
        part = _part(path, "")
        if part is not None:
            # Files like boat_train.txt list the pictures of one class.
            splits = [f.stem for f in sorted(lists.glob("[!.]*.txt")) if "_" not in f.stem]
            return cls(path, tuple(splits), (part,), lists)
        found = (_part(path / name, name) for name in SPLIT_FOLDERS)
        parts = tuple(part for part in found if part is not None)
        return cls(path, tuple(p.split for p in parts), parts, lists) if parts else None

    @property
    def absent(self) -> dict[str, str]:
        """It names no parts that may be missing."""
        return {}

    @property
    def has_names(self) -> bool:
        """Whether it names its classes itself; otherwise labels are numbers."""
        return True

    def read(self, split: str | None, classes: Sequence[str] | None) -> DetectionSet:
        """Read all labels of a split, one of ``splits``; None = of the whole folder.

        Args:
            split: Which part.
            classes: Their names and order; None = all that occur in the folder, sorted, so that
                every split has the same.

        Raises:
            DataSetError: A file of the split is no such annotation, a picture is missing, or a
                label is wrong.
        """
        parts = [p for p in self._parts if not p.split or split in (None, p.split)]
        documents = {part: _parsed(part) for part in (self._parts if classes is None else parts)}
        each = [document for part in documents.values() for document in part.values()]
        refused = [document for document in each if isinstance(document, DataSetError)]
        if classes is None:
            sound = (document for document in each if isinstance(document, _Document))
            classes = sorted({label.name for document in sound for label in document.objects})
            if not classes:
                nothing = DataSetError(f"data set {self.path} has no object in any .xml file")
                raise next(iter(refused), nothing)
        name = str(self.path) if split is None else f"{self.path} ({split})"
        collector = Collector(name, classes)
        for part in parts:
            images = images_by_stem(part.images, nested=part.nested)
            for stem in self._stems(part, split, images, documents[part], collector):
                document = documents[part][stem]
                if isinstance(document, DataSetError):
                    raise document
                image = open_image(_image_of(stem, document, images, part.images), document.size)
                collector.add(image, document.objects)
                for where in document.difficult:
                    collector.note("objects are marked difficult; they are kept", where)
        left_out = ".xml files of other parts cannot be read; their classes were left out"
        for error in refused:  # each that was asked for has been raised
            collector.note(left_out, str(error))
        return collector.finish()

    def _stems(
        self,
        part: _Part,
        split: str | None,
        images: dict[str, Path],
        documents: Mapping[str, _Document | DataSetError],
        collector: Collector,
    ) -> Iterator[str]:
        """Yield which annotations to take."""
        if part.split or split is None:
            named = {
                _image_stem(stem, document, images)
                for stem, document in documents.items()
                if isinstance(document, _Document)
            }
            for stem, path in images.items():
                if stem not in named:
                    collector.note("images have no .xml file and were left out", str(path))
            yield from documents
            return
        file = self._lists / f"{split}.txt"
        seen = set()
        for number, line in enumerate(read_text(file).splitlines(), start=1):
            if not line.strip():
                continue
            found = _listed(line, documents)
            if found is None:
                missing = part.labels / line.strip()
                raise DataSetError(f"{file}, line {number}: there is no {missing}.xml")
            if found in seen:
                collector.note("images are listed twice and were taken once", f"{file}:{number}")
                continue
            seen.add(found)
            yield found


def _listed(line: str, documents: Collection[str]) -> str | None:
    """Return the name that a line of a list means: alone, as a path, or with a mark behind."""
    return _meant(line.strip(), documents) or _meant(line.split()[0], documents)


def _meant(path: str, stems: Collection[str]) -> str | None:
    """Return which of some names, with their folders, a path means: the longest that ends it."""
    parts = PurePosixPath(path.replace("\\", "/")).parts
    ends = (PurePosixPath(*parts[start:]) for start in range(len(parts)))
    names = (name for end in ends for name in (str(end), str(end.parent / end.stem)))
    return next((name for name in names if name in stems), None)


@dataclass(frozen=True)
class _Document:
    """What one .xml says; ``size`` is (height, width) or None, ``image_name`` may be empty."""

    path: Path
    image_name: str
    size: tuple[int, int] | None
    objects: tuple[Label, ...]
    difficult: tuple[str, ...]


def _part(path: Path, split: str) -> _Part | None:
    if not path.is_dir():
        return None
    folders = {p.name.lower(): p for p in entries(path) if p.is_dir()}
    labels = folders.get("annotations")
    if labels is not None and _xml_files(labels, nested=True):
        return _Part(split, labels, folders.get("jpegimages") or folders.get("images") or labels)
    stems = {file.stem for file in _xml_files(path)}
    # Other files may be XML too: a picture of the same name makes it a label.
    pairs = any(p.stem in stems and p.suffix.lower() != ".xml" for p in entries(path))
    return _Part(split, path, path) if pairs else None


def _xml_files(folder: Path, *, nested: bool = False) -> list[Path]:
    files = files_inside(folder) if nested else entries(folder)
    return [path for path in files if path.suffix.lower() == ".xml"]


def _image_of(stem: str, document: _Document, images: dict[str, Path], folder: Path) -> Path:
    found = _image_stem(stem, document, images)
    if found is None:
        raise DataSetError(f"{document.path}: there is no image {stem} (.jpg, .png) in {folder}")
    return images[found]


def _image_stem(stem: str, document: _Document, images: Collection[str]) -> str | None:
    """Find the picture: by the name of the .xml, which outlives renaming, else by what it says."""
    if stem in images or not document.image_name:
        return stem if stem in images else None
    return _meant(f"{PurePosixPath(stem).parent}/{document.image_name}", images)


class _NoDoctype(ElementTree.TreeBuilder):
    """Refuses a document type: with it entities could be declared that grow without bounds."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise ElementTree.ParseError("it has a document type, which labels have no use for")


def _parsed(part: _Part) -> dict[str, _Document | DataSetError]:
    """Read all .xml files of a part; of one that is not as it should be, why."""
    found: dict[str, _Document | DataSetError] = {}
    for file in _xml_files(part.labels, nested=part.nested):
        stem = stem_inside(file, part.labels)
        try:
            found[stem] = _parse(file)
        except DataSetError as error:
            found[stem] = error
    return found


def _parse(path: Path) -> _Document:
    text = read_text(path)
    try:
        # The declaration may name another encoding than the text has by now.
        parser = ElementTree.XMLParser(target=_NoDoctype(), encoding="utf-8")
        root = ElementTree.fromstring(text.encode(), parser)
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        raise DataSetError(f"{path} is no sound XML: {error}") from None
    if root.tag != "annotation":
        raise DataSetError(f"{path} is no Pascal VOC annotation: its root is <{root.tag[:40]}>")
    objects = []
    difficult = []
    for number, element in enumerate(root.iter("object"), start=1):
        where = f"{path}, object {number}"
        name = (element.findtext("name") or "").strip()
        if not name:
            raise DataSetError(f"{where} has no <name>")
        box = element.find("bndbox")
        if box is None:
            raise DataSetError(f"{where} ('{name}') has no <bndbox>")
        corners = (_number(box, corner, where) for corner in _CORNERS)
        objects.append(Label(where, name, *corners))
        if is_marked(element.findtext("difficult")):
            difficult.append(where)
    image_name = (root.findtext("filename") or "").strip()
    return _Document(path, image_name, _size(root, path), tuple(objects), tuple(difficult))


def _size(root: ElementTree.Element, path: Path) -> tuple[int, int] | None:
    """(height, width) that the file states; some programs leave it out or write zeros."""
    size = root.find("size")
    if size is None:
        return None
    height, width = (int(_number(size, key, f"{path}, <size>")) for key in ("height", "width"))
    return (height, width) if height and width else None


def _number(element: ElementTree.Element, key: str, where: str) -> float:
    text = element.findtext(key)
    try:
        value = float(text or "")
        if not math.isfinite(value):
            raise ValueError
        return value
    except ValueError:
        said = "no" if text is None else f"'{text.strip()[:40]}' as"
        raise DataSetError(f"{where} has {said} <{key}>; a number belongs there") from None
