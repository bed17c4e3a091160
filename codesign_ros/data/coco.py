"""Labels in the layout of COCO: one JSON file for all pictures of a split.

::

    annotations/instances_train2017.json   train2017/*.jpg   (or images/, images/train2017/)
    or  train/_annotations.coco.json  with its pictures beside it
    or  one such file of any name, here or in annotations/, with its pictures beside it, in
        images/, data/ or JPEGImages/

Regions that are marked ``iscrowd`` are left out, and noted: they are no boxes of single objects. So
are boxes without any width or height, of which the data set that gave the layout its name has two,
and annotations without a box, such as outlines alone. A score, as a detector's answers have it, is
noted.
A picture that no annotation names is one without objects; but a file that has no annotations at all
says nothing of its pictures, and is left out where others have some.
"""

from __future__ import annotations

import codecs
import json
import mmap
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from codesign_ros.data.annotations import (
    SCORED,
    Collector,
    DetectionSet,
    Label,
    is_marked,
    whole_number,
)
from codesign_ros.data.image_files import (
    SPLIT_FOLDERS,
    DataSetError,
    entries,
    open_image,
    read_text,
)
from codesign_ros.types.errors import listed

_ANNOTATIONS = "annotations"
# COCO's own measure counts what is found in a crowd neither way.
_CROWDS = (
    "annotations are crowds, not objects, and were left out; what a network finds in one counts as "
    "wrong, and AP is lower than by COCO's rules"
)
# Fewer boxes may all be as small by chance.
_FEW = 5
_SHARES = "boxes lie in the first pixel: shares of the picture? COCO's are in pixels"
_PREFIX = "instances_"
_BESIDE = "_annotations.coco.json"
# Where pictures lie, as seen from their file: labelling programs each have a name of their own.
_PICTURE_FOLDERS = ("", "images", "data", "JPEGImages")
# What a file of COCO says in its first bytes, whatever the order of its parts; other programs'
# files may be large, and are read no further.
_HEAD_BYTES = 1 << 12
_BEGIN = re.compile(
    rb"""(\xef\xbb\xbf)?\s*\{.*?"(info|licenses|images|annotations|categories)"\s*:\s*[\[{]""",
    re.DOTALL,
)
# What UTF-16 and UTF-32 begin with, as Windows writes them.
_WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_PARTS = tuple(
    re.compile(part)
    for part in (rb'"images"\s*:\s*\[', rb'"annotations"\s*:\s*\[', rb'"file_name"\s*:')
)


@dataclass(frozen=True)
class CocoFiles:
    """One JSON file, or those of a folder; ``find`` and ``find_lone`` make one.

    Attributes:
        path: The file or the folder.
        splits: What the folder's files are of, such as train2017; empty with a single file.
    """

    path: Path
    splits: tuple[str, ...]
    _files: tuple[Path, ...]

    @classmethod
    def find(cls, path: Path) -> CocoFiles | None:
        """Return the data set at ``path``, None if it has no such layout."""
        if path.is_file():
            return cls(path, (), (path,)) if path.suffix.lower() == ".json" else None
        files = sorted(path.glob(f"{_ANNOTATIONS}/{_PREFIX}*.json"))
        if files:
            splits = tuple(file.stem.removeprefix(_PREFIX) for file in files)
            return cls(path, splits, tuple(files))
        folders = [path / name for name in SPLIT_FOLDERS if (path / name / _BESIDE).is_file()]
        files = [folder / _BESIDE for folder in folders]
        return cls(path, tuple(f.name for f in folders), tuple(files)) if folders else None

    @classmethod
    def find_lone(cls, path: Path) -> CocoFiles | None:
        """Return the data set of the one file of COCO in a folder, None if it has none.

        Raises:
            DataSetError: The folder has several, or a file cannot be read.
        """
        folders = [each for each in (path, path / _ANNOTATIONS) if each.is_dir()]
        files = [
            file
            for folder in folders
            for file in entries(folder)
            if file.suffix.lower() == ".json" and file.is_file() and _is_coco(file)
        ]
        if len(files) > 1:
            names = listed([str(file) for file in files])
            raise DataSetError(f"{path} has several files of COCO: {names}; name one of them")
        return cls(path, (), tuple(files)) if files else None

    @property
    def absent(self) -> dict[str, str]:
        """It names no parts that may be missing."""
        return {}

    @property
    def has_names(self) -> bool:
        """Whether it names its classes itself; otherwise labels are numbers."""
        return True

    def read(self, split: str | None, classes: Sequence[str] | None) -> DetectionSet:
        """Read all labels of a split, one of ``splits``; None = of all files.

        Args:
            split: Which part.
            classes: Their names and order; None = all categories of the folder's files by id.

        Raises:
            DataSetError: A file of the split is no such JSON, a picture is missing, or a label is
                wrong.
        """
        chosen = [f for f, s in zip(self._files, self.splits or ("",), strict=True)
                  if split in (None, s)]  # fmt: skip
        documents = [_Document(file) for file in chosen]
        warnings = []
        if classes is None:
            categories = [document.categories for document in documents]
            for file in (file for file in self._files if file not in chosen):
                try:
                    categories.append(_Document(file).categories)
                except DataSetError as error:  # nothing else of this file is asked for
                    warnings.append(f"{error}; its categories were left out")
            classes = _merged(categories, self.path)
        # Who keeps the labels of a part to himself delivers it without; alone it is of no use.
        labelled = [document for document in documents if document.is_labelled] or documents
        unlabelled = [document for document in documents if document not in labelled]
        warnings += [
            f"{each.path} has no annotations: its {each.image_count} images were left out"
            for each in unlabelled
        ]
        name = str(self.path) if split is None else f"{self.path} ({split})"
        collector = Collector(name, classes, warnings)
        for document in labelled:
            document.collect(collector)
        return collector.finish()


def _merged(categories: Sequence[dict[int, str]], path: Path) -> list[str]:
    """Names of all categories in the order of their ids."""
    names: dict[int, str] = {}
    for each in categories:
        for number, name in each.items():
            if names.setdefault(number, name) != name:
                raise DataSetError(
                    f"the files of {path} give category {number} two names, "
                    f"'{names[number]}' and '{name}'"
                )
    return [names[number] for number in sorted(names)]


class _Document:
    """One JSON file, of which only the categories are looked at before ``collect``.

    Args:
        path: The file.

    Raises:
        DataSetError: It is no such JSON, or its categories are wrong.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            content = json.loads(read_text(path))
        except (ValueError, RecursionError) as error:
            raise DataSetError(f"{path} is no sound JSON: {error}") from None
        if not isinstance(content, dict):
            raise DataSetError(f"{path} is no COCO annotation: it is not a JSON object")
        self._content = content
        self.categories: dict[int, str] = {}
        has_none = not self.is_labelled and "categories" not in content
        for index, entry in enumerate(() if has_none else self._part("categories")):
            where = f"{path}, category {index}"
            number, name = _field(entry, "id", int, where), _field(entry, "name", str, where)
            if number in self.categories:
                raise DataSetError(f"{where}: id {number} stands twice")
            self.categories[number] = name

    @property
    def is_labelled(self) -> bool:
        """Whether it has annotations, if only an empty list of them."""
        return self._content.get("annotations") is not None

    @property
    def image_count(self) -> int:
        """How many pictures it names."""
        return len(self._part("images"))

    def collect(self, collector: Collector) -> None:
        """Add all pictures with their labels.

        Raises:
            DataSetError: It has no lists of pictures and annotations, a picture is missing, or a
                label is wrong.
        """
        images: dict[int, dict[str, Any]] = {}
        for index, entry in enumerate(self._part("images")):
            where = f"{self.path}, image {index}"
            number = _field(entry, "id", int, where)
            _field(entry, "file_name", str, where)
            if number in images:
                raise DataSetError(f"{where}: id {number} stands twice")
            images[number] = entry
        labels: dict[int, list[Label]] = defaultdict(list)
        for index, entry in enumerate(self._part("annotations")):
            where = f"{self.path}, annotation {index}"
            if isinstance(entry, dict) and "id" in entry:
                where += f" (id {entry['id']})"
            # A crowd is an outline and may have no box.
            if isinstance(entry, dict) and is_marked(entry.get("iscrowd")):
                collector.note(_CROWDS, where)
                continue
            # An outline or a caption may stand there alone.
            if isinstance(entry, dict) and entry.get("bbox") in (None, []):
                collector.note("annotations have no bbox and were left out", where)
                continue
            number = _field(entry, "image_id", int, where)
            if number not in images:
                raise DataSetError(f"{where}: there is no image with id {number}")
            labels[number].append(self._label(entry, where))
            if entry.get("score") is not None:
                collector.note(SCORED, where)
        found = [label for each in labels.values() for label in each]
        shares = [label for label in found if max(label.x_max, label.y_max) <= 1]
        if len(found) >= _FEW and shares == found:
            for label in found:
                collector.note(_SHARES, label.where)
        if not images:
            return
        folder = self._image_folder(next(iter(images.values()))["file_name"])
        for number, entry in images.items():
            height, width = (whole_number(str(entry.get(key))) for key in ("height", "width"))
            stated = (height, width) if height and width else None
            image = open_image(folder / _relative(entry["file_name"], self.path), stated)
            collector.add(image, labels[number])

    def _part(self, key: str) -> list[Any]:
        part = self._content.get(key)
        if not isinstance(part, list):
            raise DataSetError(f"{self.path} is no COCO annotation: it has no list '{key}'")
        return part

    def _label(self, entry: Any, where: str) -> Label:
        category = _field(entry, "category_id", int, where)
        box = _field(entry, "bbox", list, where)
        if category not in self.categories:
            raise DataSetError(f"{where}: there is no category with id {category}")
        try:
            x, y, width, height = map(float, box)
        except (TypeError, ValueError, OverflowError):
            raise DataSetError(f"{where}: bbox must be 4 numbers, x, y, width and height") from None
        return Label(where, self.categories[category], x, y, x + width, y + height)

    def _image_folder(self, first: str) -> Path:
        """Find the folder that has the first picture.

        Raises:
            DataSetError: None has.
        """
        folder = self.path.parent
        split = self.path.stem.removeprefix(_PREFIX)
        candidates = [folder / name for name in (*_PICTURE_FOLDERS, split)]
        for root in (folder.parent, folder.parent / "images"):
            candidates += [root, root / split]
        for candidate in candidates:
            if (candidate / _relative(first, self.path)).is_file():
                return candidate
        looked = ", ".join(str(candidate) for candidate in candidates)
        raise DataSetError(f"{self.path}: image {first} is in none of {looked}")


def _is_coco(file: Path) -> bool:
    """Whether a JSON file has the parts of one of COCO; it is not parsed.

    Raises:
        DataSetError: It cannot be read.
    """
    try:
        with file.open("rb") as stream:
            head = stream.read(_HEAD_BYTES)
            if head.startswith(_WIDE):
                text = read_text(file).encode()
                return bool(_BEGIN.match(text)) and all(part.search(text) for part in _PARTS)
            if not _BEGIN.match(head):
                return False
            with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as whole:
                return all(part.search(whole) for part in _PARTS)
    except OSError as error:
        raise DataSetError(f"{file} cannot be read: {error.strerror}") from None


def _relative(file_name: str, path: Path) -> PurePosixPath:
    """Check that a picture's name stays below its folder."""
    name = PurePosixPath(file_name.replace("\\", "/"))
    if name.is_absolute() or ".." in name.parts:
        raise DataSetError(f"{path}: file_name '{file_name}' leads out of the data set")
    return name


def _field(entry: Any, key: str, kind: type, where: str) -> Any:
    """Return a field of a JSON object, checked for its type; 7.0 and "7" are whole numbers too."""
    value = entry.get(key) if isinstance(entry, dict) else None
    if kind is int and type(value) in (float, str):
        value = whole_number(str(value))
    if type(value) is not kind:
        names = {int: "a whole number", str: "a text", list: "a list"}
        raise DataSetError(f"{where}: '{key}' must be {names[kind]}")
    return value
