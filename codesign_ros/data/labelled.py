"""Opens labelled data sets for detection, whatever their layout, and splits them.

A set is a folder, or the file that describes it. Layouts, in the order in which they are looked
for: Pascal VOC (``voc``), COCO (``coco``), YOLO (``yolo_labels``), and last, since one may lie
beside anything, a single COCO file whose name says nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from codesign_ros.data.annotations import DetectionSet, LabelledImage
from codesign_ros.data.coco import CocoFiles
from codesign_ros.data.image_files import DataSetError
from codesign_ros.data.voc import VocFolder
from codesign_ros.data.yolo_labels import YoloFolder

__all__ = [
    "VAL_SHARE",
    "DataSetError",
    "DetectionSet",
    "LabelledImage",
    "has_labels",
    "held_out",
    "names_for",
    "open_detection_set",
    "open_for_measuring",
    "open_train_and_val",
    "split_by_hash",
    "splits_of",
]

VAL_SHARE = 0.2
"""Share of the pictures to measure on, where a set has no parts of its own."""

_TRAIN = "train"
_VAL = "val"
# What other programs call a split; a year may follow, as in val2017.
_ALIASES = {_VAL: (_VAL, "valid", "validation")}


class _Layout(Protocol):
    """A data set that was recognised and not read yet."""

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of its parts; may be empty."""

    @property
    def absent(self) -> Mapping[str, str]:
        """Parts that it describes and that are not there, and why, in one line."""

    @property
    def has_names(self) -> bool:
        """Whether it names its classes itself; otherwise labels are numbers."""

    def read(self, split: str | None, classes: Sequence[str] | None) -> DetectionSet:
        """Read the labels of one of ``splits``, or of the whole set."""


_FINDERS: dict[str, Callable[[Path], _Layout | None]] = {
    "Pascal VOC": VocFolder.find,
    "COCO": CocoFiles.find,
    "YOLO": YoloFolder.find,
    "one file of COCO": CocoFiles.find_lone,
}


def open_detection_set(
    path: Path | str, split: str | None = None, classes: Sequence[str] | None = None
) -> DetectionSet:
    """Open a labelled data set; all labels are read and checked, pictures only looked at.

    Args:
        path: A folder in one of the layouts, a COCO JSON file, or YOLO's data.yaml.
        split: The part to open, such as ``train`` or ``val`` (which stands for ``valid``,
            ``validation`` and ``val2017`` too); None = everything. Where the set has no part to
            measure on, these two are those of ``open_train_and_val``.
        classes: Names of the classes in the order wanted; None = those of the set.

    Returns:
        The set; its ``warnings`` say what was mended or left out.

    Raises:
        DataSetError: There is no such set or split, it has no pictures or no labels, or one of them
            is wrong; the line names the file and the place in it.
    """
    layout = _recognised(Path(path))
    if split in (_TRAIN, _VAL) and split not in layout.absent and _lacks_val(layout):
        return open_train_and_val(path, classes)[split == _VAL]
    return layout.read(None if split is None else _named(split, layout, path), classes)


def open_train_and_val(
    path: Path | str, classes: Sequence[str] | None = None, val_share: float = VAL_SHARE
) -> tuple[DetectionSet, DetectionSet]:
    """Open what to train on and what to measure on.

    Where the set has a part for either, these are they. Where none to measure on is there, what
    there is to train on, or all of a set without parts, is split by hash.

    Args:
        path: As for ``open_detection_set``.
        classes: As for ``open_detection_set``; both sets have the same.
        val_share: Share of the pictures to measure on, where the set is not split.

    Raises:
        DataSetError: As for ``open_detection_set``, or the set has no part to train on.
    """
    layout = _recognised(Path(path))
    if _lacks_val(layout):
        return split_by_hash(layout.read(_own_name(_TRAIN, layout), classes), val_share)
    train_name, val_name = (_named(split, layout, path) for split in (_TRAIN, _VAL))
    train = layout.read(train_name, classes)
    return train, layout.read(val_name, train.classes)


def open_for_measuring(path: Path | str, classes: Sequence[str] | None = None) -> DetectionSet:
    """Open what to measure on: the set's part for that if it has one, else everything.

    Args:
        path: As for ``open_detection_set``.
        classes: As for ``open_detection_set``.

    Raises:
        DataSetError: As for ``open_detection_set``, or the part is described and not there.
    """
    layout = _recognised(Path(path))
    if _VAL in layout.absent:  # figures of what it learned from would be taken for those
        there = " or ".join(layout.splits)
        raise DataSetError(f"{layout.absent[_VAL]}; --split names another part: {there}")
    return layout.read(_own_name(_VAL, layout), classes)


def has_labels(path: Path | str) -> bool:
    """Whether something that looks like a labelled data set is at ``path``.

    Raises:
        DataSetError: It has such a layout, but the file that describes it is damaged.
    """
    return any(find(Path(path)) is not None for find in _FINDERS.values())


def names_for(path: Path | str, names: Sequence[str]) -> tuple[str, ...] | None:
    """Return ``names`` where a data set needs them: its labels are numbers that nothing names.

    Raises:
        DataSetError: There is no data set.
    """
    return None if not names or _recognised(Path(path)).has_names else tuple(names)


def splits_of(path: Path | str) -> tuple[str, ...]:
    """Names of the parts of a data set; empty where it has none.

    Raises:
        DataSetError: There is no data set.
    """
    return _recognised(Path(path)).splits


def split_by_hash(whole: DetectionSet, share: float) -> tuple[DetectionSet, DetectionSet]:
    """Split a set by the hashes of its file names: the same files always fall the same way.

    Neighbouring frames of one film look alike and may fall on both sides; where that matters, split
    the set by film, into folders.

    Args:
        whole: The set.
        share: Share of the pictures for the second set, 0 to 1; each gets one at least.

    Returns:
        (train, val). The warnings stay with the first.

    Raises:
        DataSetError: There are fewer than two pictures, the share is none, or all labels fall on
            one side.
    """
    if not 0 < share < 1:
        raise DataSetError(f"the share to measure on must lie between 0 and 1, not {share:g}")
    if len(whole) < 2:
        raise DataSetError(f"data set {whole.name} has one image; a split needs two")
    chosen = held_out([image.path for image in whole.images], share)
    parts = [
        replace(
            whole,
            name=f"{whole.name} ({name})",
            images=tuple(image for image in whole.images if (image.path in chosen) == is_chosen),
            warnings=() if is_chosen else whole.warnings,
        )
        for name, is_chosen in ((_TRAIN, False), (_VAL, True))
    ]
    for part in parts:
        if not any(image.boxes for image in part.images):
            raise DataSetError(f"data set {part.name}: the split leaves no labels here; add images")
    return parts[0], parts[1]


def held_out(files: Sequence[Path], share: float) -> frozenset[Path]:
    """Choose a share of at least two files by the hashes of their names, one at least, not all."""

    def rank(file: Path) -> tuple[bytes, Path]:
        return hashlib.sha256(file.name.encode("utf-8", "surrogateescape")).digest(), file

    count = min(max(1, round(share * len(files))), len(files) - 1)
    return frozenset(sorted(files, key=rank)[:count])


def _recognised(path: Path) -> _Layout:
    if not path.exists():
        raise DataSetError(f"there is no data set at {path}")
    for find in _FINDERS.values():
        layout = find(path)
        if layout is not None:
            return layout
    raise DataSetError(
        f"{path} is no labelled data set: it has none of the layouts {', '.join(_FINDERS)}"
    )


def _named(split: str, layout: _Layout, path: Path | str) -> str:
    """Return the set's own name of a split; raise DataSetError where it has none."""
    name = _own_name(split, layout)
    if name is None and split in layout.absent:
        raise DataSetError(layout.absent[split])
    if name is None:
        there = ", ".join(layout.splits) or "none"
        raise DataSetError(f"data set {path} has no split '{split}'; its splits: {there}")
    return name


def _lacks_val(layout: _Layout) -> bool:
    """Whether a set has no part to measure on, and what could be split for that."""
    bases = {own.rstrip("0123456789") for own in layout.splits}
    return not bases.intersection(_ALIASES[_VAL]) and (
        not layout.splits or _own_name(_TRAIN, layout) is not None
    )


def _own_name(split: str, layout: _Layout) -> str | None:
    """Return the set's own name of a split, None where it has none or several with years."""
    if split in layout.splits:
        return split
    aliases = _ALIASES.get(split, (split,))
    found = [own for own in layout.splits if own.rstrip("0123456789") in aliases]
    return found[0] if len(found) == 1 else None
