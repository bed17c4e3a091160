"""Labels in the layout of YOLO: a text file for each picture, a line for each box.

::

    data.yaml (names; train, val, test: folders or lists of pictures; [path: where they start])
    or  images/[train/]*.jpg   labels/[train/]*.txt   [classes.txt]
    or  train/images/*.jpg   train/labels/*.txt ...
    or pictures and .txt side by side, in the folder itself or in train/, val/ ...

A line is ``class x y width height``: the index of the class, the box's centre and its size as
shares of the picture's width and height. An empty file is a picture without objects. So is, as
usual with this layout, a picture without a file; those are noted. A sixth value, which is the score
in a detector's own files, is left out and noted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from codesign_ros.data.annotations import SCORED, Collector, DetectionSet, Label, whole_number
from codesign_ros.data.image_files import (
    IMAGE_SUFFIXES,
    SPLIT_FOLDERS,
    DataSetError,
    ImageFile,
    entries,
    files_inside,
    images_by_stem,
    open_image,
    read_text,
    stem_inside,
)
from codesign_ros.types.errors import one_line

_VAL = "val"
_DESCRIPTIONS = ("data.yaml", "data.yml", "dataset.yaml")
_YAML_SUFFIXES = (".yaml", ".yml")
# What the metadata.yaml of a bag says, which is no description of labels.
_BAG = "rosbag2_bagfile_information"
_NAMES_FILE = "classes.txt"
_IMAGES, _LABELS = "images", "labels"
_COLUMNS = 5
# Six decimals of a share that is 1 may say a little more.
_SHARE_SLACK = 1e-5


@dataclass(frozen=True)
class YoloFolder:
    """A data set in this layout; ``find`` makes one.

    Attributes:
        path: The folder, or the file that describes it.
        splits: Names of its parts, such as train and val; may be empty.
        absent: Parts that it describes and that are not there, and why, in one line.
    """

    path: Path
    splits: tuple[str, ...]
    _names: tuple[str, ...]
    _sources: dict[str, tuple[Path, ...]] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)

    @classmethod
    def find(cls, path: Path) -> YoloFolder | None:
        """Return the data set at ``path``, None if it has no such layout.

        Raises:
            DataSetError: Its description or its list of classes is damaged.
        """
        if path.is_file():
            return _described(path) if path.suffix.lower() in _YAML_SUFFIXES else None
        for name in _DESCRIPTIONS:
            if (path / name).is_file():
                return _described(path / name)
        sources = _folders(path)
        if not sources:
            return None
        folders = {path, path / _LABELS}
        for folder in sources.values():
            folders |= {folder.parent, _label_folder(folder)}
        names = _listed_names(sorted(folders))
        splits = tuple(split for split in sources if split)
        return cls(path, splits, names, {split: (f,) for split, f in sources.items()})

    @property
    def has_names(self) -> bool:
        """Whether it names its classes itself; otherwise labels are numbers."""
        return bool(self._names)

    def read(self, split: str | None, classes: Sequence[str] | None) -> DetectionSet:
        """Read all labels of a split, one of ``splits``; None = of the whole set.

        Args:
            split: Which part.
            classes: Their names and order; None = as the set's own list has them. Where it has no
                list, they are also what the indices in the files mean.

        Raises:
            DataSetError: Nothing names the classes, a file or line is not as it should be, or a
                picture is missing.
        """
        names = self._names or tuple(classes or ())
        if not names:
            raise DataSetError(
                f"data set {self.path} has neither data.yaml nor {_NAMES_FILE}: name the classes "
                "that the numbers in its label files mean, in their order, with --classes"
            )
        name = str(self.path) if split is None else f"{self.path} ({split})"
        # Who has no part to measure on measures on another one.
        left_out = [why for part, why in self.absent.items() if split is None or part == _VAL]
        warnings = [f"{absent}; it was left out" for absent in left_out]
        collector = Collector(name, names if classes is None else classes, warnings)
        seen = set()
        for part, sources in self._sources.items():
            for source in sources if split in (None, part) else ():
                for path in _images(source, collector):
                    if path in seen:
                        collector.note("images are listed twice and were taken once", str(path))
                        continue
                    seen.add(path)
                    image = open_image(path)
                    collector.add(image, _labels(image, names, collector))
        return collector.finish()


def _described(file: Path) -> YoloFolder:
    """Read data.yaml."""
    try:
        content = yaml.safe_load(read_text(file))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DataSetError(f"{file} is no sound YAML: {one_line(error)}") from None
    if not isinstance(content, dict):
        raise DataSetError(f"{file} describes no data set: it is not a YAML mapping")
    if _BAG in content:
        raise DataSetError(f"{file} is a bag's metadata; give its folder, {file.parent}")
    names = _described_names(file, content)
    root = file.parent / _slashes(str(content.get("path") or "."))
    sources: dict[str, tuple[Path, ...]] = {}
    absent: dict[str, str] = {}
    for split in SPLIT_FOLDERS:
        value = content.get(split)
        if not value:
            continue
        listed = value if isinstance(value, list) else [value]
        if not all(isinstance(each, str) for each in listed):
            raise DataSetError(
                f"{file}: '{split}' must name a folder, a list of pictures, or several"
            )
        places = [_resolved(root, each) for each in listed]
        lost = next((place for place in places if not place.exists()), None)
        if lost is None:
            sources[split] = tuple(places)
        else:
            absent[split] = f"{file}: '{split}' names {lost}, which does not exist"
    if not sources:
        raise DataSetError(
            next(iter(absent.values()), f"{file} names no pictures: it needs 'train' or 'val'")
        )
    return YoloFolder(file, tuple(sources), names, sources, absent)


def _described_names(file: Path, content: dict[Any, Any]) -> tuple[str, ...]:
    names = content.get("names")
    if isinstance(names, dict):
        of_index = {whole_number(str(key)): name for key, name in names.items()}
        if of_index.keys() != set(range(len(names))):
            raise DataSetError(f"{file}: the keys of 'names' must be 0 to {len(names) - 1}")
        names = [of_index[index] for index in range(len(names))]
    if not isinstance(names, list) or not names:
        raise DataSetError(f"{file}: 'names' must list the names of the classes")
    for name in names:
        # To Python a truth value is a number too; but it was written as yes, on or true.
        if isinstance(name, bool) or not isinstance(name, (str, int, float)):
            raise DataSetError(
                f"{file}: every one of 'names' must be a text, and YAML reads one as "
                f"{one_line(str(name)[:40])}: put it in quotes, as in 'yes'"
            )
    if content.get("nc") is not None and whole_number(str(content["nc"])) != len(names):
        raise DataSetError(f"{file}: 'nc' is {content['nc']}, but 'names' has {len(names)} names")
    return tuple(map(str, names))


def _resolved(root: Path, entry: str) -> Path:
    """Return the place that an entry means, whether it is there or not."""
    entry = _slashes(entry)
    place = root / entry
    if not place.exists() and entry.startswith("../"):
        # Some exporters write paths as seen from a folder beside their own file.
        beside = root / entry[3:]
        return beside if beside.exists() else place
    return place


def _slashes(entry: str) -> str:
    """Return a path as it is written here; on Windows backslashes part its folders."""
    return entry.replace("\\", "/")


def _folders(path: Path) -> dict[str, Path]:
    """Find the folders of pictures by split; the split is empty where there is but one folder."""
    if (path / _IMAGES).is_dir() and (path / _LABELS).is_dir():
        inside = entries(path / _IMAGES)
        parts = {p.name: p for p in inside if (path / _LABELS / p.name).is_dir()}
        # Beside pictures, folders are no parts of the set: they only keep it in order.
        if any(p.suffix.lower() in IMAGE_SUFFIXES for p in inside):
            parts = {}
        return parts or {"": path / _IMAGES}
    found = {}
    for split in SPLIT_FOLDERS:
        folder = path / split
        if (folder / _IMAGES).is_dir() and (folder / _LABELS).is_dir():
            found[split] = folder / _IMAGES
        elif folder.is_dir() and _side_by_side(folder):
            found[split] = folder
    if found:
        return found
    return {"": path} if _side_by_side(path) else {}


def _side_by_side(folder: Path) -> bool:
    """Whether a picture of the folder has a .txt of its name beside it."""
    files = entries(folder)
    stems = {p.stem for p in files if p.suffix == ".txt" and p.name != _NAMES_FILE}
    return bool(stems) and any(p.stem in stems for p in files if p.suffix != ".txt")


def _listed_names(folders: Sequence[Path]) -> tuple[str, ...]:
    """Read the files ``classes.txt``, one name a line; no names where there is no such file."""
    found: dict[tuple[str, ...], Path] = {}
    for file in (folder / _NAMES_FILE for folder in folders):
        if file.is_file():
            lines = read_text(file).splitlines()
            found.setdefault(tuple(line.strip() for line in lines if line.strip()), file)
    if () in found:
        raise DataSetError(f"{found[()]} is empty; it must name the classes, one a line")
    if len(found) > 1:
        first, second, *_ = found.values()
        raise DataSetError(f"{first} and {second} name different classes")
    return next(iter(found), ())


def _label_folder(images: Path) -> Path:
    """Return ``labels`` in place of the last ``images`` of a path, or the same folder."""
    parts = images.parts
    if _IMAGES in parts:
        last = len(parts) - 1 - parts[::-1].index(_IMAGES)
        folder = Path(*parts[:last], _LABELS, *parts[last + 1 :])
        if folder.is_dir():
            return folder
    return images


def _images(source: Path, collector: Collector) -> Iterator[Path]:
    """Yield the pictures of a folder, or those that a text file lists."""
    if source.is_dir():
        images = images_by_stem(source, nested=True)
        labels = _label_folder(source)
        for path in files_inside(labels):
            orphan = path.suffix == ".txt" and stem_inside(path, labels) not in images
            if orphan and path.name != _NAMES_FILE:
                collector.note("label files have no image and were left out", str(path))
        yield from images.values()
        return
    for line in read_text(source).splitlines():
        if line.strip():
            yield source.parent / _slashes(line.strip())


def _labels(image: ImageFile, names: Sequence[str], collector: Collector) -> Iterator[Label]:
    """Yield the labels of a picture."""
    file = _label_folder(image.path.parent) / f"{image.path.stem}.txt"
    if not file.exists():
        collector.note("images have no label file and count as without objects", str(image.path))
        return
    for number, line in enumerate(read_text(file).splitlines(), start=1):
        columns, where = line.split(), f"{file}, line {number}"
        if len(columns) == _COLUMNS + 1:
            collector.note(SCORED, where)
            columns = columns[:_COLUMNS]
        if columns:
            yield _label(columns, where, image, names)


def _label(columns: list[str], where: str, image: ImageFile, names: Sequence[str]) -> Label:
    if len(columns) != _COLUMNS:
        raise DataSetError(
            f"{where} has {len(columns)} values, not {_COLUMNS} (class x y width height; outlines "
            "are not boxes)"
        )
    index = whole_number(columns[0])
    if index is None:
        raise DataSetError(f"{where}: class '{columns[0][:40]}' is no index (0, 1, 2 ...)")
    if index >= len(names):
        raise DataSetError(
            f"{where}: class {index} is beyond the {len(names)} names ({', '.join(names)})"
        )
    try:
        shares = [float(column) for column in columns[1:]]
    except ValueError:
        raise DataSetError(
            f"{where} has something that is no number: {' '.join(columns[1:])[:60]}"
        ) from None
    if not all(-_SHARE_SLACK <= share <= 1 + _SHARE_SLACK for share in shares):
        raise DataSetError(
            f"{where}: {' '.join(columns[1:])} must be shares of the picture, 0 to 1 (not pixels)"
        )
    x, y, width, height = shares
    return Label(
        where,
        names[index],
        (x - width / 2) * image.width,
        (y - height / 2) * image.height,
        (x + width / 2) * image.width,
        (y + height / 2) * image.height,
    )
