"""Labels in the layout of COCO: one JSON file for all pictures of a split.

::

    annotations/instances_train2017.json   train2017/*.jpg   (or images/, images/train2017/)
    or  train/_annotations.coco.json  with its pictures beside it

Regions that are marked ``iscrowd`` are left out, and noted: they are no boxes of single objects. So
are boxes without any width or height, of which the data set that gave the layout its name has two.
A picture that no annotation names is one without objects.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from codesign_ros.data.annotations import Collector, DetectionSet, Label, whole_number
from codesign_ros.data.image_files import SPLIT_FOLDERS, DataSetError, open_image, read_text

_PREFIX = "instances_"
_BESIDE = "_annotations.coco.json"
_PARTS = ("images", "annotations", "categories")
# What stands for "no crowd" in files of the field.
_NO = (None, False, 0, "", "0", "0.0", "false", "False")


@dataclass(frozen=True)
class CocoFiles:
    """One JSON file, or those of a folder; ``find`` makes one.

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
        files = sorted(path.glob(f"annotations/{_PREFIX}*.json"))
        if files:
            splits = tuple(file.stem.removeprefix(_PREFIX) for file in files)
            return cls(path, splits, tuple(files))
        folders = [path / name for name in SPLIT_FOLDERS if (path / name / _BESIDE).is_file()]
        files = [folder / _BESIDE for folder in folders]
        return cls(path, tuple(f.name for f in folders), tuple(files)) if folders else None

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
            DataSetError: A file is no such JSON, a picture is missing, or a label is wrong.
        """
        chosen = [f for f, s in zip(self._files, self.splits or ("",), strict=True)
                  if split in (None, s)]  # fmt: skip
        documents = {file: _Document(file) for file in (self._files if classes is None else chosen)}
        if classes is None:
            classes = _merged([document.categories for document in documents.values()], self.path)
        name = str(self.path) if split is None else f"{self.path} ({split})"
        collector = Collector(name, classes)
        for file in chosen:
            documents[file].collect(collector)
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
    """One JSON file.

    Args:
        path: The file.

    Raises:
        DataSetError: It is no such JSON.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            content = json.loads(read_text(path))
        except (ValueError, RecursionError) as error:
            raise DataSetError(f"{path} is no sound JSON: {error}") from None
        if not isinstance(content, dict):
            raise DataSetError(f"{path} is no COCO annotation: it is not a JSON object")
        for part in _PARTS:
            if not isinstance(content.get(part), list):
                raise DataSetError(f"{path} is no COCO annotation: it has no list '{part}'")
        self._images: dict[int, dict[str, Any]] = {}
        for index, entry in enumerate(content["images"]):
            where = f"{path}, image {index}"
            number = _field(entry, "id", int, where)
            _field(entry, "file_name", str, where)
            if number in self._images:
                raise DataSetError(f"{where}: id {number} stands twice")
            self._images[number] = entry
        self.categories: dict[int, str] = {}
        for index, entry in enumerate(content["categories"]):
            where = f"{path}, category {index}"
            number, name = _field(entry, "id", int, where), _field(entry, "name", str, where)
            if number in self.categories:
                raise DataSetError(f"{where}: id {number} stands twice")
            self.categories[number] = name
        self._annotations = content["annotations"]

    def collect(self, collector: Collector) -> None:
        """Add all pictures with their labels.

        Raises:
            DataSetError: A picture is missing or a label is wrong.
        """
        labels: dict[int, list[Label]] = defaultdict(list)
        for index, entry in enumerate(self._annotations):
            where = f"{self._path}, annotation {index}"
            if isinstance(entry, dict) and "id" in entry:
                where += f" (id {entry['id']})"
            image_id, label = self._label(entry, where)
            if entry.get("iscrowd") not in _NO:
                collector.note("annotations are crowds, not objects, and were left out", where)
            else:
                labels[image_id].append(label)
        if not self._images:
            return
        folder = self._image_folder()
        for number, entry in self._images.items():
            height, width = (whole_number(str(entry.get(key))) for key in ("height", "width"))
            stated = (height, width) if height and width else None
            image = open_image(folder / _relative(entry["file_name"], self._path), stated)
            collector.add(image, labels[number])

    def _label(self, entry: Any, where: str) -> tuple[int, Label]:
        """Return the number of the picture and the box."""
        image = _field(entry, "image_id", int, where)
        category = _field(entry, "category_id", int, where)
        box = _field(entry, "bbox", list, where)
        if image not in self._images:
            raise DataSetError(f"{where}: there is no image with id {image}")
        if category not in self.categories:
            raise DataSetError(f"{where}: there is no category with id {category}")
        try:
            x, y, width, height = map(float, box)
        except (TypeError, ValueError, OverflowError):
            raise DataSetError(f"{where}: bbox must be 4 numbers, x, y, width and height") from None
        return image, Label(where, self.categories[category], x, y, x + width, y + height)

    def _image_folder(self) -> Path:
        """Find the folder that has the first picture.

        Raises:
            DataSetError: None has.
        """
        first = next(iter(self._images.values()))["file_name"]
        folder = self._path.parent
        split = self._path.stem.removeprefix(_PREFIX)
        candidates = [folder, folder / "images"]
        for root in (folder.parent, folder.parent / "images"):
            candidates += [root, root / split]
        for candidate in candidates:
            if (candidate / _relative(first, self._path)).is_file():
                return candidate
        looked = ", ".join(str(candidate) for candidate in candidates)
        raise DataSetError(f"{self._path}: image {first} is in none of {looked}")


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
