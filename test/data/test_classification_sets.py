"""Classification sets, their files written here byte by byte."""

import gzip
import struct

import cv2
import numpy as np
import pytest

from codesign_ros.data.classes import ClassChoice, FoundClasses
from codesign_ros.data.image_files import DataSetError
from codesign_ros.training.classifier.sets import open_classification_set, renamed_set

NAMES = {"train": "train", "val": "t10k"}


def idx(array: np.ndarray) -> bytes:
    header = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.tobytes()


def write_idx(folder, split="train", count=6, packed=False, seed=0):
    """Two IDX files of 5 x 7 pictures; returns the pictures and their labels."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 5, 7), dtype=np.uint8)
    labels = rng.permutation(count).astype(np.uint8) % 10
    for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
        name = f"{NAMES[split]}-{kind}-ubyte"
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(idx(array)))
        else:
            (folder / name).write_bytes(idx(array))
    return images, labels


def write_cifar(folder, count=6, seed=0):
    """train.bin and test.bin; returns the pictures (n, 32, 32, 3) and the fine labels of train."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    fine = rng.permutation(100)[:count].astype(np.uint8)
    records = b"".join(
        bytes((label // 5, label)) + image.transpose(2, 0, 1).tobytes()
        for image, label in zip(images, fine, strict=True)
    )
    (folder / "train.bin").write_bytes(records)
    (folder / "test.bin").write_bytes(records[: 2 * 3074])
    (folder / "fine_label_names.txt").write_text(
        "\n".join(f"thing{i}" for i in range(100)) + "\n\n"
    )
    return images, fine


def write_folder(root, counts, size=(8, 6)):
    """Folders of plain PNGs, a grey for each class."""
    for grey, (name, count) in enumerate(counts.items()):
        (root / name).mkdir(parents=True)
        for i in range(count):
            image = np.full((*size, 3), 10 * grey + i, np.uint8)
            assert cv2.imwrite(str(root / name / f"{name}{i}.png"), image)
    return root


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("kind", "place"),
    [("mnist", "."), ("mnist", "MNIST/raw"), ("fashion-mnist", "FashionMNIST/raw")],
)
def test_idx_files(tmp_path, kind, place, packed):
    for split, seed in (("train", 1), ("val", 2)):
        images, labels = write_idx(tmp_path / place, split, packed=packed, seed=seed)
        found = open_classification_set(f"{kind}:{tmp_path}", split)
        assert len(found) == 6
        assert found.labels.tolist() == labels.tolist()
        assert found.labels.dtype == np.int64
        assert found.size == (5, 7)
        assert len(found.classes) == 10
        for i in range(6):
            assert np.array_equal(found.image(i), np.stack([images[i]] * 3, axis=2))
    # A mirrored 3 is no 3, a mirrored shoe is a shoe.
    assert found.mirrored_is_same == (kind == "fashion-mnist")


def test_cifar(tmp_path):
    images, fine = write_cifar(tmp_path / "cifar-100-binary")
    for folder in (tmp_path, tmp_path / "cifar-100-binary"):
        found = open_classification_set(f"cifar100:{folder}", "train")
        assert found.labels.tolist() == fine.tolist()
        assert [np.array_equal(found.image(i), images[i]) for i in range(6)] == [True] * 6
        assert found.classes[7] == "thing7"
        assert len(open_classification_set(f"cifar100:{folder}", "val")) == 2


def test_folder_with_parts(tmp_path):
    write_folder(tmp_path / "train", {"cat": 3, "dog": 2})
    write_folder(tmp_path / "valid", {"cat": 1, "dog": 1})
    train, val = (open_classification_set(str(tmp_path), s) for s in ("train", "val"))
    assert train.classes == val.classes == ("cat", "dog")
    assert train.labels.tolist() == [0, 0, 0, 1, 1]
    assert val.labels.tolist() == [0, 1]
    assert train.size == (8, 6)
    assert [int(train.image(i).max()) for i in range(5)] == [0, 1, 2, 10, 11]
    write_folder(tmp_path / "valid", {"bird": 1})
    with pytest.raises(DataSetError, match=r"valid has classes bird, cat, dog, but .* cat, dog"):
        open_classification_set(str(tmp_path), "val")


def test_folder_without_parts(tmp_path):
    write_folder(tmp_path, {"cat": 10, "dog": 5, "owl": 2})
    train, val = (open_classification_set(str(tmp_path), s) for s in ("train", "val"))
    assert np.bincount(train.labels).tolist() == [8, 4, 1]
    assert np.bincount(val.labels).tolist() == [2, 1, 1]
    looks = {
        s: {int(d.image(i).max()) for i in range(len(d))} for s, d in (("t", train), ("v", val))
    }
    assert not looks["t"] & looks["v"]
    assert open_classification_set(str(tmp_path), "val").labels.tolist() == val.labels.tolist()


def test_what_is_hidden_is_no_class_and_no_picture(tmp_path):
    write_folder(tmp_path, {"cat": 3, "dog": 3, ".git": 0})
    write_folder(tmp_path / "owl", {"night": 2})
    (tmp_path / "cat" / "._cat0.png").write_bytes(b"\0\5\x16\7")
    (tmp_path / "notes.txt").write_text("beside the classes")
    found = [open_classification_set(str(tmp_path), split) for split in ("train", "val")]
    assert {each.classes for each in found} == {("cat", "dog", "owl")}
    assert sum(np.bincount(each.labels) for each in found).tolist() == [3, 3, 2]


def test_pictures_of_several_sizes(tmp_path):
    write_folder(tmp_path / "train", {"cat": 2, "dog": 2})
    write_folder(tmp_path / "val", {"cat": 2})
    write_folder(tmp_path / "val", {"dog": 2}, size=(9, 9))
    assert open_classification_set(str(tmp_path), "val").size is None


def wrong(folder, name, change):
    file = folder / name
    file.write_bytes(change(file.read_bytes()))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("train-images-idx3-ubyte", lambda b: b[:-1], r"has 209 bytes of data, .* 6 x 5 x 7 = 210"),
        ("train-images-idx3-ubyte", lambda b: b + b"\0", "has 211 bytes of data"),
        ("train-images-idx3-ubyte", lambda b: b[:9], "cut off in its header"),
        ("train-images-idx3-ubyte", lambda b: b"", "no IDX file of bytes in 3 dimensions"),
        ("train-images-idx3-ubyte", lambda b: b[:2] + b"\x0d" + b[3:], "no IDX file of bytes"),
        ("train-images-idx3-ubyte", lambda b: idx(np.zeros((6, 0, 7), np.uint8)), "without pixels"),
        ("train-labels-idx1-ubyte", lambda b: idx(np.zeros(5, np.uint8)), "6 images, .* 5 labels"),
        ("train-labels-idx1-ubyte", lambda b: idx(np.zeros(6, np.uint8)), "one class only, '0'"),
        (
            "train-labels-idx1-ubyte",
            lambda b: idx(np.array([0, 1, 10, 3, 4, 5], np.uint8)),
            "label 2 is 10, there are classes 0 to 9",
        ),
    ],
)
def test_bad_idx_files(tmp_path, name, change, message):
    write_idx(tmp_path)
    wrong(tmp_path, name, change)
    with pytest.raises(DataSetError, match=message) as caught:
        open_classification_set(f"mnist:{tmp_path}", "train")
    assert "\n" not in str(caught.value)


def test_idx_files_that_are_missing_empty_or_badly_packed(tmp_path):
    with pytest.raises(DataSetError, match=r"train-images-idx3-ubyte \(or .*gz\) is neither in"):
        open_classification_set(f"mnist:{tmp_path}", "train")
    write_idx(tmp_path / "none", count=0)
    with pytest.raises(DataSetError, match="has no images"):
        open_classification_set(f"mnist:{tmp_path / 'none'}", "train")
    write_idx(tmp_path, packed=True)
    wrong(tmp_path, "train-images-idx3-ubyte.gz", lambda b: b[:-9])
    with pytest.raises(DataSetError, match=r"idx3-ubyte\.gz is cut off"):
        open_classification_set(f"mnist:{tmp_path}", "train")
    wrong(tmp_path, "train-images-idx3-ubyte.gz", lambda b: b"no gzip")
    with pytest.raises(DataSetError, match=r"idx3-ubyte\.gz cannot be read: Not a gzipped file"):
        open_classification_set(f"mnist:{tmp_path}", "train")
    for place, reason in ((10, "invalid block type"), (-8, "CRC check failed")):
        damaged = bytearray(gzip.compress(bytes(1000)))
        damaged[place] = 0x07
        wrong(tmp_path, "train-images-idx3-ubyte.gz", lambda b, d=damaged: bytes(d))
        with pytest.raises(DataSetError, match=rf"idx3-ubyte\.gz cannot be read: .*{reason}"):
            open_classification_set(f"mnist:{tmp_path}", "train")


def test_bad_cifar(tmp_path):
    spec = f"cifar100:{tmp_path}"
    with pytest.raises(
        DataSetError, match=r"train\.bin is missing: get CIFAR-100's binary version$"
    ):
        open_classification_set(spec, "train")
    (tmp_path / "cifar-100-python").mkdir()
    (tmp_path / "cifar-100-python" / "meta").write_bytes(b"")
    with pytest.raises(DataSetError, match="would have to be unpickled, which is not safe"):
        open_classification_set(spec, "train")
    write_cifar(tmp_path)
    wrong(tmp_path, "train.bin", lambda b: b[:-1])
    with pytest.raises(DataSetError, match=r"train\.bin is cut off: 18443 bytes"):
        open_classification_set(spec, "train")
    wrong(tmp_path, "train.bin", lambda b: bytes((0, 100)) + b[2 : 2 * 3074])
    with pytest.raises(DataSetError, match="label 0 is 100, there are classes 0 to 99"):
        open_classification_set(spec, "train")
    wrong(tmp_path, "train.bin", lambda b: b"")
    with pytest.raises(DataSetError, match="has no images"):
        open_classification_set(spec, "train")
    (tmp_path / "fine_label_names.txt").write_text("one two")
    with pytest.raises(DataSetError, match="must name 100 classes"):
        open_classification_set(spec, "train")


def test_bad_folders(tmp_path):
    with pytest.raises(DataSetError, match=r"there is no folder .*nowhere; a data set is a folder"):
        open_classification_set(str(tmp_path / "nowhere"), "train")
    with pytest.raises(DataSetError, match="must have a folder of images a class"):
        open_classification_set(str(tmp_path), "train")
    write_folder(tmp_path, {"cat": 2})
    with pytest.raises(DataSetError, match="has one class only, 'cat'"):
        open_classification_set(str(tmp_path), "train")
    write_folder(tmp_path, {"dog": 1})
    with pytest.raises(DataSetError, match="dog has one image; to train and to measure needs two"):
        open_classification_set(str(tmp_path), "train")
    (tmp_path / "owl").mkdir()
    with pytest.raises(DataSetError, match="folder of images a class: there is none in owl"):
        open_classification_set(str(tmp_path), "train")
    (tmp_path / "owl" / "a.ppm").write_bytes(b"P6")
    with pytest.raises(DataSetError, match=r"a\.ppm is neither JPEG nor PNG; convert it"):
        open_classification_set(str(tmp_path), "train")
    (tmp_path / "owl" / "a.ppm").unlink()
    for name in ("a.png", "b.png"):
        (tmp_path / "owl" / name).write_bytes(b"cut")
    (tmp_path / "dog" / "dog1.png").write_bytes(b"cut")
    with pytest.raises(DataSetError, match=r"cannot be read: .* neither JPEG nor PNG"):
        open_classification_set(str(tmp_path), "train")


def test_classes_are_renamed_and_left_out(tmp_path):
    write_folder(tmp_path, {"cat": 4, "dog": 4, "owl": 4})
    found = open_classification_set(str(tmp_path), "train")
    classes = FoundClasses.of_labels(found.classes)

    def renamed(map, classes_kept):
        choice = ClassChoice.given(map, classes_kept, False)
        return renamed_set(found, choice.resolve(classes, None, "data"))

    two = renamed(["cat=pet,dog=pet"], None)
    assert two.classes == ("pet", "owl")
    assert two.labels.tolist() == [0, 0, 0, 0, 0, 0, 1, 1, 1]
    some = renamed(None, ["owl,cat"])
    assert some.labels.tolist() == [1, 1, 1, 0, 0, 0]
    for number, old in enumerate((0, 1, 2, 6, 7, 8)):
        assert np.array_equal(some.image(number), found.image(old))
    with pytest.raises(DataSetError, match="has one class only, 'owl'"):
        renamed(None, ["owl"])
