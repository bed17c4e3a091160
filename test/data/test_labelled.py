import itertools
import math
import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codesign_ros.data.annotations import Collector, DetectionSet, Label, LabelledImage
from codesign_ros.data.image_files import DataSetError, ImageFile, open_image
from codesign_ros.data.labelled import (
    has_labels,
    open_detection_set,
    open_for_measuring,
    open_train_and_val,
    split_by_hash,
    splits_of,
)
from codesign_ros.data.sources import open_source
from codesign_ros.pixels.decode import to_rgb
from codesign_ros.types.boxes import Box
from codesign_ros.types.errors import CodesignError
from support.label_files import (
    CLASSES,
    HEIGHT,
    WIDTH,
    picture,
    voc_xml,
    with_orientation,
    write_coco,
    write_voc,
    write_yolo,
)

HELMET = Box("helmet", 16.0, 12.0, 32.0, 24.0)
HEAD = Box("head", 0.0, 0.0, 8.0, 12.0)
FILES = [("a", (HELMET, HEAD)), ("b", ()), ("c", (HEAD,))]

# ---- one set in every layout


def written(root, layout):
    if layout == "coco":
        return write_coco(root, [(f"{stem}.jpg", boxes) for stem, boxes in FILES], split="all")
    return {"voc": write_voc, "yolo": write_yolo}[layout](root, FILES)


@pytest.mark.parametrize("layout", ["voc", "yolo", "coco"])
def test_every_layout_says_the_same(tmp_path, layout):
    root = written(tmp_path, layout)
    found = open_detection_set(root, classes=CLASSES)
    assert len(found) == 3
    assert [image.boxes for image in found.images] == [boxes for _, boxes in FILES]
    assert found.labels(0).tolist() == [1, 0]
    assert found.labels(0).dtype == np.int64
    assert found.boxes(0).dtype == np.float32
    assert found.boxes(0).tolist() == [[16, 12, 32, 24], [0, 0, 8, 12]]
    assert found.boxes(1).shape == (0, 4)
    for i in range(3):
        stored = cv2.imread(str(found.images[i].path))
        assert np.array_equal(found.image(i), stored[..., ::-1])
    assert has_labels(root)
    assert has_labels(str(root))


@pytest.mark.parametrize("layout", ["voc", "yolo", "coco"])
def test_as_a_source_of_frames(tmp_path, layout):
    root = written(tmp_path, layout)
    source = open_source(str(root), fps=10.0)
    assert (source.frames, source.fps, source.live) == (3, 10.0, False)
    played = list(source)
    assert [f.truth.boxes for f in played] == [boxes for _, boxes in FILES]
    assert {f.truth.label for f in played} == {""}
    assert [f.stamp_ns for f in played] == [0, 100_000_000, 200_000_000]
    for frame, image in zip(played, source.labelled.images, strict=True):
        assert frame.data == image.path.read_bytes()
        assert frame.encoding == ("png" if layout == "yolo" else "jpeg")
        assert (frame.height, frame.width, frame.step) == (HEIGHT, WIDTH, 0)
    assert len(list(open_source(str(root), frames=2))) == 2


def test_a_source_takes_what_is_for_measuring(tmp_path):
    write_yolo(tmp_path, FILES[:1], split="train")
    write_yolo(tmp_path, FILES[2:], split="valid")
    assert [f.truth.boxes for f in open_source(str(tmp_path))] == [(HEAD,)]
    assert [f.truth.boxes for f in open_source(str(tmp_path), split="train")] == [(HELMET, HEAD)]
    assert len(open_for_measuring(tmp_path)) == 1
    with pytest.raises(CodesignError, match="has no split 'test'; its splits: train, valid"):
        open_source(str(tmp_path), split="test")


def test_pictures_without_labels_are_a_plain_folder(tmp_path):
    picture(tmp_path / "a.jpg")
    (tmp_path / "notes.txt").write_text("no label")
    (tmp_path / "package.xml").write_text("<package/>")
    assert not has_labels(tmp_path)
    assert [f.truth for f in open_source(str(tmp_path))] == [None]
    with pytest.raises(CodesignError, match="no labelled data set"):
        open_source(str(tmp_path), split="val")
    with pytest.raises(DataSetError, match="none of the layouts Pascal VOC, COCO, YOLO"):
        open_detection_set(tmp_path)


@pytest.mark.parametrize("layout", ["voc", "yolo", "coco"])
def test_hidden_files_are_left_alone(tmp_path, layout):
    root = written(tmp_path, layout)
    for file in [file for file in root.rglob("*") if file.is_file()]:
        file.with_name(f"._{file.name}").write_bytes(b"\0\5\x16\7 of a Mac")
    found = open_detection_set(root)
    assert [image.path.stem for image in found.images] == ["a", "b", "c"]
    assert found.warnings == ()


def test_hidden_files_beside_pictures(tmp_path):
    for name in ("a.jpg", "b.jpg"):
        picture(tmp_path / name)
        (tmp_path / f"._{name}").write_bytes(b"\0\5\x16\7 of a Mac")
    assert len(list(open_source(str(tmp_path)))) == 2
    (tmp_path / "a.xml").write_text(voc_xml("a.jpg", [HEAD]))
    (tmp_path / "._b.xml").write_bytes(b"\0\5\x16\7 of a Mac")
    found = open_detection_set(tmp_path)
    assert [image.path.name for image in found.images] == ["a.jpg"]
    assert [line.partition(": ")[2][:8] for line in found.warnings] == ["1 images"]


def test_nothing_there(tmp_path):
    with pytest.raises(DataSetError, match="there is no data set at"):
        open_detection_set(tmp_path / "nowhere")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_folder_that_cannot_be_read(tmp_path):
    tmp_path.chmod(0)
    with pytest.raises(DataSetError, match="cannot be read: Permission denied"):
        open_detection_set(tmp_path)
    tmp_path.chmod(0o700)


# ---- pictures


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_as_opencv_turns_them(tmp_path, orientation):
    path = with_orientation(picture(tmp_path / "a.jpg"), orientation)
    upright = cv2.imread(str(path), cv2.IMREAD_COLOR)
    turned = orientation >= 5
    assert upright.shape[:2] == ((WIDTH, HEIGHT) if turned else (HEIGHT, WIDTH))
    (tmp_path / "a.xml").write_text(voc_xml("a.jpg", [HEAD], size=upright.shape[:2]))
    found = open_detection_set(tmp_path)
    assert np.array_equal(found.image(0), upright[..., ::-1])
    assert (found.images[0].height, found.images[0].width) == upright.shape[:2]
    # Whoever plays it sees the same picture, by the decoder that all frames go through.
    (frame,) = open_source(str(tmp_path))
    rgb = to_rgb(
        frame.data, frame.encoding, height=frame.height, width=frame.width, step=frame.step
    )
    assert np.array_equal(rgb, found.image(0))


def test_labels_made_for_the_picture_as_it_is_stored(tmp_path):
    path = with_orientation(picture(tmp_path / "a.jpg"), 6)
    (tmp_path / "a.xml").write_text(voc_xml("a.jpg", [HEAD], size=(HEIGHT, WIDTH)))
    stored = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    assert np.array_equal(open_detection_set(tmp_path).image(0), stored[..., ::-1])


def test_an_orientation_that_makes_no_sense(tmp_path):
    path = picture(tmp_path / "a.jpg")
    assert open_image(with_orientation(path, 77)) == ImageFile(path, HEIGHT, WIDTH)
    data = picture(path).read_bytes()
    path.write_bytes(data[:2] + b"\xff\xe1\0\x0eExif\0\0MM\xff\xff\xff\xff" + data[2:])
    assert open_image(path).orientation == 1


def test_a_header_behind_a_long_profile(tmp_path):
    path = picture(tmp_path / "a.jpg")
    data = path.read_bytes()
    block = b"\xff\xe2\xff\xff" + bytes(0xFFFD)
    path.write_bytes(data[:2] + 3 * block + data[2:])
    assert open_image(path) == ImageFile(path, HEIGHT, WIDTH)


def test_broken_pictures(tmp_path):
    path = picture(tmp_path / "a.jpg")
    data = path.read_bytes()
    for behind in (bytes(300), b"\n", b"SEFH and more of a phone's" * 9):
        path.write_bytes(data + behind)
        assert open_image(path).load().shape == (HEIGHT, WIDTH, 3)
    for content, message in (
        (data[: len(data) // 2], r"a\.jpg cannot be read: jpeg image 64x48 of \d+ bytes is cut"),
        (data[:20], r"a\.jpg cannot be read: jpeg image of 20 bytes is cut off"),
        (b"", r"a\.jpg cannot be read: 0 bytes .* neither JPEG nor PNG"),
        (b"GIF89a", "neither JPEG nor PNG"),
    ):
        path.write_bytes(content)
        with pytest.raises(DataSetError, match=message):
            open_image(path)


def test_pictures_that_break_after_opening(tmp_path):
    picture(tmp_path / "a.jpg")
    (tmp_path / "a.xml").write_text(voc_xml("a.jpg", [HEAD]))
    found = open_detection_set(tmp_path)
    picture(tmp_path / "a.jpg", height=HEIGHT + 1)
    with pytest.raises(DataSetError, match=r"a\.jpg has changed"):
        found.image(0)
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff nothing")
    with pytest.raises(DataSetError, match=r"a\.jpg cannot be read"):
        found.image(0)
    (tmp_path / "a.jpg").unlink()
    with pytest.raises(DataSetError, match=r"a\.jpg cannot be read: No such file"):
        found.image(0)


# ---- boxes


@settings(deadline=None)
@given(st.tuples(*[st.floats(-100, 200, allow_nan=False) for _ in range(4)]))
def test_a_box_is_clipped_or_refused(tmp_path_factory, corners):
    x_min, y_min, x_max, y_max = corners
    image = ImageFile(tmp_path_factory.getbasetemp() / "a.jpg", HEIGHT, WIDTH)
    collector = Collector("set", CLASSES)
    inside = (max(x_min, 0), max(y_min, 0), min(x_max, WIDTH), min(y_max, HEIGHT))
    if x_min <= x_max and y_min <= y_max and (x_min == x_max or y_min == y_max):
        collector.add(image, [Label("here", "head", *corners)])
        collector.add(
            replace(image, path=image.path.with_name("b.jpg")),
            [Label("there", "head", 1.0, 1.0, 5.0, 5.0)],
        )
        found = collector.finish()
        assert found.images[0].boxes == ()
        assert "1 boxes have no width or no height and were left out" in found.warnings[0]
        return
    if x_min > x_max or y_min > y_max or inside[0] >= inside[2] or inside[1] >= inside[3]:
        with pytest.raises(DataSetError, match="here: box of 'head'"):
            collector.add(image, [Label("here", "head", *corners)])
        return
    collector.add(image, [Label("here", "head", *corners)])
    found = collector.finish()
    (box,) = found.images[0].boxes
    assert (box.x_min, box.y_min, box.x_max, box.y_max) == inside
    assert bool(found.warnings) == any(
        abs(a - b) > 1e-3 for a, b in zip(corners, inside, strict=True)
    )


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", range(4))
def test_coordinates_that_are_not_finite(tmp_path, value, place):
    corners = [1.0, 1.0, 5.0, 5.0]
    corners[place] = value
    with pytest.raises(DataSetError, match="here: a coordinate of 'head' is not a finite number"):
        Collector("set", CLASSES).add(
            ImageFile(tmp_path, HEIGHT, WIDTH), [Label("here", "head", *corners)]
        )


# ---- splits


def many(count, labelled=lambda i: True):
    images = [
        LabelledImage(Path(f"/set/{i}.jpg"), HEIGHT, WIDTH, 1, (HEAD,) if labelled(i) else ())
        for i in range(count)
    ]
    return DetectionSet("set", CLASSES, tuple(images), ("beware",))


@settings(deadline=None)
@given(count=st.integers(2, 60), share=st.floats(0.01, 0.99))
def test_split_by_hash(count, share):
    whole = many(count)
    train, val = split_by_hash(whole, share)
    assert sorted(i.path for i in (*train.images, *val.images)) == sorted(
        i.path for i in whole.images
    )
    assert len(val) == min(max(1, round(share * count)), count - 1)
    again = split_by_hash(DetectionSet("set", CLASSES, whole.images[::-1]), share)
    assert {i.path for i in again[1].images} == {i.path for i in val.images}
    assert (train.warnings, val.warnings) == (("beware",), ())
    assert train.classes == val.classes == CLASSES


def test_a_larger_share_keeps_what_a_smaller_one_has():
    parts = [{i.path for i in split_by_hash(many(40), s)[1].images} for s in (0.1, 0.2, 0.5)]
    for smaller, larger in itertools.pairwise(parts):
        assert smaller < larger


def test_splits_that_cannot_be():
    with pytest.raises(DataSetError, match="has one image; a split needs two"):
        split_by_hash(many(1), 0.5)
    for share in (0.0, 1.0, math.nan, -1.0):
        with pytest.raises(DataSetError, match="must lie between 0 and 1"):
            split_by_hash(many(9), share)
    with pytest.raises(DataSetError, match=r"\((train|val)\): the split leaves no labels here"):
        split_by_hash(many(9, labelled=lambda i: i == 3), 0.5)


def test_train_and_val_of_a_set_without_parts(tmp_path):
    root = write_voc(tmp_path, [(str(i), (HEAD,)) for i in range(10)])
    assert splits_of(root) == ()
    train, val = open_train_and_val(root, val_share=0.3)
    assert (len(train), len(val)) == (7, 3)
    names = [[image.path for image in part.images] for part in open_train_and_val(root)]
    for split, paths in zip(("train", "val"), names, strict=True):
        assert [image.path for image in open_detection_set(root, split).images] == paths
    assert len(list(open_source(str(root), split="val"))) == 2
    with pytest.raises(DataSetError, match="has no split 'test'; its splits: none"):
        open_detection_set(root, "test")


def test_a_fifth_of_a_train_part_is_kept_apart_where_there_is_no_val(tmp_path):
    write_yolo(tmp_path, [(str(i), (HEAD,)) for i in range(10)], split="train")
    write_yolo(tmp_path, [("t", (HEAD,))], split="test")
    assert set(splits_of(tmp_path)) == {"train", "test"}
    train, val = open_train_and_val(tmp_path)
    assert (len(train), len(val)) == (8, 2)
    for split, part in (("train", train), ("val", val)):
        paths = [image.path for image in part.images]
        assert [image.path for image in open_detection_set(tmp_path, split).images] == paths
    assert len(open_detection_set(tmp_path, "test")) == 1


def test_what_is_not_there_to_train_on_is_one_line(tmp_path):
    write_yolo(tmp_path, FILES, split="test")
    with pytest.raises(DataSetError, match="has no split 'train'; its splits: test"):
        open_train_and_val(tmp_path)
