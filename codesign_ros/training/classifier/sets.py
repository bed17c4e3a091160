"""Labelled pictures for classification: MNIST, Fashion-MNIST, CIFAR-100, folders of images.

Nothing is downloaded and nothing unpickled. That is why the files of the first three are read here:
torchvision's classes unpickle CIFAR-100 (here its binary version is read) and, where they lie
about, old files of MNIST; and they want the IDX files unpacked and in one certain folder.
"""

from __future__ import annotations

import gzip
import math
import zlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from codesign_ros.data.classes import ClassNames
from codesign_ros.data.image_files import (
    DataSetError,
    ImageFile,
    entries,
    files_inside,
    images_of,
    open_image,
    read_text,
)
from codesign_ros.data.labelled import VAL_SHARE, held_out
from codesign_ros.types.errors import listed

TRAIN, VAL = "train", "val"

_FASHION_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
# What torchvision calls the set, its classes, and whether a mirrored picture is still of its class.
_IDX_SETS = {
    "mnist": ("MNIST", tuple("0123456789"), False),
    "fashion-mnist": ("FashionMNIST", _FASHION_CLASSES, True),
}
_IDX_UINT8 = 0x08
_CIFAR_SIDE = 32
_CIFAR_CLASSES = 100
_CIFAR_FOLDER = "cifar-100-binary"
_CIFAR_NAMES = "fine_label_names.txt"
_VAL_FOLDERS = ("val", "valid", "validation", "test")


@dataclass(frozen=True, eq=False)
class ClassificationSet:
    """Pictures, each of one class.

    Attributes:
        name: What the set is called.
        classes: Names of the classes, two or more.
        labels: (n,) int64, index of each picture's class; n > 0.
        size: (height, width) of the pictures [px]; None where they differ.
        mirrored_is_same: Whether a mirrored picture is still of its class (digits are not).
        image: Returns the picture of a number, uint8 (H, W, 3) RGB; raises CodesignError where its
            file cannot be read or decoded.
    """

    name: str
    classes: tuple[str, ...]
    labels: np.ndarray
    size: tuple[int, int] | None
    mirrored_is_same: bool
    image: Callable[[int], np.ndarray]

    def __len__(self) -> int:
        return len(self.labels)


def open_classification_set(spec: str, split: str) -> ClassificationSet:
    """Open a data set.

    Args:
        spec: ``mnist:DIR``, ``fashion-mnist:DIR``, ``cifar100:DIR``, or a folder with a folder of
            images for each class, in ``train/`` and ``val/`` or without parts; then a fifth of each
            class, by the hashes of the file names, is for ``val``.
        split: ``train`` or ``val``.

    Raises:
        DataSetError: A file is missing, damaged or cut off, or there are no pictures or fewer than
            two classes.
    """
    assert split in (TRAIN, VAL)
    kind, colon, folder = spec.partition(":")
    if colon and kind in _IDX_SETS:
        found = _idx_set(kind, Path(folder), split)
    elif colon and kind == "cifar100":
        found = _cifar100(Path(folder), split)
    else:
        found = _image_folder(Path(spec), split)
    if len(found) == 0:
        raise DataSetError(f"data set {found.name} has no images")
    _refuse_one_class(found)
    return found


def renamed_set(found: ClassificationSet, names: ClassNames) -> ClassificationSet:
    """Rename the classes of a set; pictures of those that do not count are left out.

    Raises:
        DataSetError: There are fewer than two classes then.
    """
    targets = [names.targets[name] for name in found.classes]
    kept = [i for i, label in enumerate(found.labels.tolist()) if targets[label] is not None]
    labels = [names.classes.index(str(targets[found.labels[i]])) for i in kept]
    chosen = replace(
        found,
        classes=names.classes,
        labels=np.array(labels, np.int64),
        image=lambda number: found.image(kept[number]),
    )
    _refuse_one_class(chosen)
    return chosen


def _refuse_one_class(found: ClassificationSet) -> None:
    names = sorted({found.classes[label] for label in found.labels.tolist()})
    if len(names) < 2:
        raise DataSetError(f"data set {found.name} has one class only, '{listed(names)}'")


# ---- MNIST and Fashion-MNIST


def _idx_set(name: str, folder: Path, split: str) -> ClassificationSet:
    """Open the two IDX files of a split."""
    torchvision_name, classes, mirrored_is_same = _IDX_SETS[name]
    prefix = {TRAIN: "train", VAL: "t10k"}[split]
    folders = (folder, folder / torchvision_name / "raw")
    images_file = _one_of(folders, f"{prefix}-images-idx3-ubyte")
    labels_file = _one_of(folders, f"{prefix}-labels-idx1-ubyte")
    images, labels = _read_idx(images_file, 3), _read_idx(labels_file, 1)
    if len(images) != len(labels):
        raise DataSetError(
            f"{images_file} has {len(images)} images, {labels_file} has {len(labels)} labels"
        )
    _check_labels(labels, len(classes), labels_file)
    _, height, width = images.shape
    if not height or not width:
        raise DataSetError(f"{images_file} has images without pixels")

    def load(index: int) -> np.ndarray:
        return np.repeat(images[index][..., None], 3, axis=2)

    return ClassificationSet(
        f"{name}:{folder} ({split})",
        classes,
        labels.astype(np.int64),
        (height, width),
        mirrored_is_same,
        load,
    )


def _one_of(folders: Sequence[Path], name: str) -> Path:
    for folder in folders:
        for file in (folder / name, folder / f"{name}.gz"):
            if file.is_file():
                return file
    places = " nor in ".join(map(str, folders))
    raise DataSetError(f"{name} (or {name}.gz) is neither in {places}")


def _read_idx(file: Path, dimensions: int) -> np.ndarray:
    """Read an IDX file of bytes: two zeros, a type, the number of dimensions, each size, the data.

    The format is described where MNIST was published (LeCun, Cortes and Burges).
    """
    data = _read_bytes(file)
    magic = bytes((0, 0, _IDX_UINT8, dimensions))
    if data[:4] != magic:
        raise DataSetError(f"{file} is no IDX file of bytes in {dimensions} dimensions")
    start = 4 + 4 * dimensions
    if len(data) < start:
        raise DataSetError(f"{file} is cut off in its header")
    shape = tuple(np.frombuffer(data, ">u4", dimensions, 4).tolist())
    if len(data) - start != math.prod(shape):
        raise DataSetError(
            f"{file} has {len(data) - start} bytes of data, its header says "
            f"{' x '.join(map(str, shape))} = {math.prod(shape)}"
        )
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def _read_bytes(file: Path) -> bytes:
    try:
        data = file.read_bytes()
        return gzip.decompress(data) if file.suffix == ".gz" else data
    except EOFError:
        raise DataSetError(f"{file} is cut off") from None
    except (OSError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataSetError(f"{file} cannot be read: {reason}") from None


def _check_labels(labels: np.ndarray, classes: int, file: Path) -> None:
    wrong = np.flatnonzero(labels >= classes)
    if len(wrong):
        raise DataSetError(
            f"{file}: label {wrong[0]} is {labels[wrong[0]]}, there are classes 0 to {classes - 1}"
        )


# ---- CIFAR-100


def _cifar100(folder: Path, split: str) -> ClassificationSet:
    """Open the binary version: a record is coarse class, fine class, then three 32 x 32 planes."""
    binary = folder if folder.name == _CIFAR_FOLDER else folder / _CIFAR_FOLDER
    if not binary.is_dir():
        binary = folder
    file = binary / {TRAIN: "train.bin", VAL: "test.bin"}[split]
    if not file.is_file():
        pickled = [folder / "meta", folder / "cifar-100-python" / "meta"]
        hint = ""
        if any(path.is_file() for path in pickled):
            hint = "; the Python version there would have to be unpickled, which is not safe"
        raise DataSetError(f"{file} is missing: get CIFAR-100's binary version{hint}")
    data = np.frombuffer(_read_bytes(file), np.uint8)
    record_bytes = 2 + 3 * _CIFAR_SIDE**2
    if data.size % record_bytes:
        raise DataSetError(
            f"{file} is cut off: {data.size} bytes are no whole records of {record_bytes}"
        )
    records = data.reshape(-1, record_bytes)
    classes = tuple(read_text(binary / _CIFAR_NAMES).split())
    if len(set(classes)) != _CIFAR_CLASSES:
        raise DataSetError(f"{binary / _CIFAR_NAMES} must name {_CIFAR_CLASSES} classes")
    labels = records[:, 1]
    _check_labels(labels, _CIFAR_CLASSES, file)
    planes = records[:, 2:].reshape(-1, 3, _CIFAR_SIDE, _CIFAR_SIDE)

    def load(index: int) -> np.ndarray:
        return np.ascontiguousarray(planes[index].transpose(1, 2, 0))

    return ClassificationSet(
        f"cifar100:{folder} ({split})",
        classes,
        labels.astype(np.int64),
        (_CIFAR_SIDE, _CIFAR_SIDE),
        True,
        load,
    )


# ---- folders of images


def _image_folder(path: Path, split: str) -> ClassificationSet:
    if not path.is_dir():
        raise DataSetError(
            f"there is no folder {path}; a data set is a folder, mnist:DIR, fashion-mnist:DIR or "
            "cifar100:DIR"
        )
    val = next((path / name for name in _VAL_FOLDERS if (path / name).is_dir()), None)
    if (path / TRAIN).is_dir() and val is not None:
        classes, files = _listed(path / TRAIN)
        if split == VAL:
            own, files = _listed(val)
            if own != classes:
                raise DataSetError(
                    f"{val} has classes {listed(own)}, but {path / TRAIN} has {listed(classes)}"
                )
    else:
        classes, files = _listed(path)
        chosen = _held_out(files)
        files = [file for file in files if (file[0] in chosen) == (split == VAL)]
    images = [open_image(file) for file, _ in files]
    labels = np.array([label for _, label in files], np.int64)
    return ClassificationSet(
        f"{path} ({split})", classes, labels, _common_size(images), True, lambda i: images[i].load()
    )


def _listed(path: Path) -> tuple[tuple[str, ...], list[tuple[Path, int]]]:
    """List classes and files of a folder, each with the index of its class, sorted by name."""
    folders = [entry for entry in entries(path) if entry.is_dir()]
    files = [(folder, list(images_of(files_inside(folder)))) for folder in folders]
    empty = [folder.name for folder, images in files if not images]
    if empty or not folders:
        reason = f"there is none in {listed(empty)}" if empty else "it has no folder"
        raise DataSetError(f"{path} must have a folder of images a class: {reason}")
    samples = [(file, label) for label, (_, images) in enumerate(files) for file in images]
    return tuple(folder.name for folder in folders), samples


def _held_out(files: Sequence[tuple[Path, int]]) -> frozenset[Path]:
    """Choose what to measure on, from each class its share."""
    by_class = defaultdict(list)
    for file, label in files:
        by_class[label].append(file)
    for same in by_class.values():
        if len(same) < 2:
            raise DataSetError(
                f"class folder {same[0].parent} has one image; to train and to measure needs two"
            )
    return frozenset().union(*(held_out(same, VAL_SHARE) for same in by_class.values()))


def _common_size(images: Sequence[ImageFile]) -> tuple[int, int] | None:
    sizes = {(image.height, image.width) for image in images}
    return sizes.pop() if len(sizes) == 1 else None
