import pytest
from hypothesis import given, settings

from codesign_ros.data.image_files import DataSetError
from codesign_ros.data.labelled import (
    open_detection_set,
    open_for_measuring,
    open_train_and_val,
)
from codesign_ros.types.boxes import Box
from support.label_files import (
    CLASSES,
    HEIGHT,
    WIDTH,
    assert_same_boxes,
    boxes_inside,
    picture,
    write_data_yaml,
    write_yolo,
    yolo_text,
)

HELMET = Box("helmet", 16.0, 12.0, 32.0, 24.0)
HEAD = Box("head", 0.0, 0.0, 8.0, 12.0)


@settings(max_examples=20, deadline=None)
@given(boxes=boxes_inside())
def test_what_was_written_is_read(tmp_path_factory, boxes):
    root = write_yolo(tmp_path_factory.mktemp("yolo"), [("a", boxes)])
    found = open_detection_set(root)
    assert found.classes == CLASSES
    assert_same_boxes(found.images[0].boxes, boxes, tolerance_px=1e-9)
    assert found.warnings == ()


def test_splits_by_folders(tmp_path):
    write_yolo(tmp_path, [("a", [HELMET]), ("b", [])], split="train")
    write_yolo(tmp_path, [("c", [HEAD])], split="val")
    train, val = open_train_and_val(tmp_path)
    assert [image.boxes for image in train.images] == [(HELMET,), ()]
    assert [image.boxes for image in val.images] == [(HEAD,)]
    assert len(open_detection_set(tmp_path)) == 3


def test_split_folders_with_images_and_labels_inside(tmp_path):
    write_yolo(tmp_path / "train", [("a", [HELMET])])
    write_yolo(tmp_path / "valid", [("b", [HEAD])])
    for found, boxes in zip(open_train_and_val(tmp_path), ((HELMET,), (HEAD,)), strict=True):
        assert found.images[0].boxes == boxes
        assert found.classes == CLASSES


def test_side_by_side(tmp_path):
    picture(tmp_path / "a.jpg")
    (tmp_path / "a.txt").write_text(yolo_text([HELMET, HEAD]))
    with pytest.raises(DataSetError, match=r"neither data\.yaml nor classes\.txt: name the class"):
        open_detection_set(tmp_path)
    found = open_detection_set(tmp_path, classes=CLASSES)
    assert found.images[0].boxes == (HELMET, HEAD)
    (tmp_path / "classes.txt").write_text("bare\nhat\n")
    assert [b.label for b in open_detection_set(tmp_path).images[0].boxes] == ["hat", "bare"]
    (tmp_path / "classes.txt").write_text("\n")
    with pytest.raises(DataSetError, match=r"classes\.txt is empty"):
        open_detection_set(tmp_path)


def test_lists_of_classes_that_differ(tmp_path):
    write_yolo(tmp_path / "train", [("a", [HELMET])])
    write_yolo(tmp_path / "val", [("b", [HEAD])], names=("helmet", "head"))
    with pytest.raises(DataSetError, match=r"train/classes\.txt and .*val/classes\.txt name diff"):
        open_detection_set(tmp_path)


@pytest.mark.parametrize(
    ("names", "places"),
    [
        (["head", "helmet"], {"train": "images/train", "val": "images/val"}),
        ({0: "head", 1: "helmet"}, {"train": ["images/train"], "val": "val.txt"}),
        ({"1": "helmet", "0": "head"}, {"train": "images/train", "val": "images/val", "nc": "2"}),
        ({0.0: "head", 1.0: "helmet"}, {"train": "images/train", "val": "images/val", "nc": None}),
        # As an exporter writes it, seen from a folder beside the file.
        (["head", "helmet"], {"train": "../images/train", "val": "../images/val"}),
        # As Windows writes paths.
        (["head", "helmet"], {"path": ".\\", "train": "images\\train", "val": "images\\val"}),
    ],
)
def test_described_by_a_file(tmp_path, names, places):
    root = tmp_path / "set"
    write_yolo(root, [("a", [HELMET])], split="train")
    write_yolo(root, [("b", [HEAD])], split="val")
    (root / "val.txt").write_text("./images/val/b.png\n.\\images\\val\\b.png\n")
    file = write_data_yaml(root, **{"names": names, "nc": 2, **places})
    for path in (file, root):
        train, val = open_train_and_val(path)
        assert (train.images[0].boxes, val.images[0].boxes) == ((HELMET,), (HEAD,))
        assert train.classes == val.classes == CLASSES


def test_the_description_may_lie_elsewhere(tmp_path):
    root = write_yolo(tmp_path / "set", [("a", [HELMET])])
    (tmp_path / "here").mkdir()
    file = write_data_yaml(tmp_path / "here", path=str(root), names=list(CLASSES), val="images")
    assert open_detection_set(file, "val").images[0].boxes == (HELMET,)
    with pytest.raises(DataSetError, match=r"has no split 'train'; its splits: val"):
        open_detection_set(file, "train")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", r"data\.yaml is no sound YAML"),
        ("- a", "is not a YAML mapping"),
        ("train: images", "'names' must list the names"),
        ("names: [a, [b]]\ntrain: images", "every one of 'names' must be a text"),
        ("names: [yes, no]\ntrain: images", r"reads one as True: put it in quotes, as in 'yes'"),
        ("names: {0: a, 1: off}\ntrain: images", "reads one as False: put it in quotes"),
        ("names: [a, ~]\ntrain: images", "reads one as None: put it in quotes"),
        ("names: [2024-01-31]\ntrain: images", "reads one as 2024-01-31: put it in quotes"),
        ("names: {0: a, 2: b}\ntrain: images", "the keys of 'names' must be 0 to 1"),
        ("names: {0: a, x: b}\ntrain: images", "the keys of 'names' must be 0 to 1"),
        ("names: {0: a, '0': b}\ntrain: images", "the keys of 'names' must be 0 to 1"),
        ("names: [a]\nnc: one\ntrain: images", "'nc' is one, but 'names' has 1 names"),
        ("names: [a]\nnc: 2\ntrain: images", "'nc' is 2, but 'names' has 1 names"),
        ("names: [a]", "needs 'train' or 'val'"),
        ("names: [a]\ntrain: {x: y}", "'train' must name a folder"),
        ("names: [a]\ntrain: /nowhere/at/all", "'train' names /nowhere/at/all, which does not"),
    ],
)
def test_bad_description(tmp_path, text, message):
    write_yolo(tmp_path, [("a", [HELMET])])
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(DataSetError, match=message) as caught:
        open_detection_set(tmp_path)
    assert "\n" not in str(caught.value)


def test_names_that_are_numbers_or_in_quotes(tmp_path):
    write_yolo(tmp_path, [("a", [HELMET])])
    (tmp_path / "data.yaml").write_text("names: ['yes', 7]\nval: images\n")
    assert open_detection_set(tmp_path).classes == ("yes", "7")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 0.5 0.5 0.1", r"a\.txt, line 2 has 4 values, not 5"),
        ("0 0.1 0.1 0.2 0.1 0.2 0.2", "line 2 has 7 values, not 5 .*outlines are not boxes"),
        ("2 0.5 0.5 0.1 0.1", r"line 2: class 2 is beyond the 2 names \(head, helmet\)"),
        ("-1 0.5 0.5 0.1 0.1", "class '-1' is no index"),
        ("head 0.5 0.5 0.1 0.1", "class 'head' is no index"),
        ("0 0.5 half 0.1 0.1", "line 2 has something that is no number: 0.5 half"),
        ("0 0.5 nan 0.1 0.1", "must be shares of the picture"),
        ("0 inf 0.5 0.1 0.1", "must be shares of the picture"),
        ("0 32 24 10 10", r"line 2: 32 24 10 10 must be shares of the picture, 0 to 1 \(not pix"),
        ("0 0.5 0.5 -0.1 0.1", "must be shares of the picture"),
    ],
)
def test_bad_lines(tmp_path, line, message):
    write_yolo(tmp_path, [("a", [HELMET])])
    (tmp_path / "labels" / "a.txt").write_text(f"1 0.5 0.5 0.1 0.1\n{line}\n")
    with pytest.raises(DataSetError, match=message):
        open_detection_set(tmp_path)


def test_over_the_edge_is_clipped_and_noted(tmp_path):
    write_yolo(tmp_path, [("a", [HELMET])])
    (tmp_path / "labels" / "a.txt").write_text("0 0.1 0.5 0.3 0.5\n1 1.000001 0.5 0.5 0.5\n")
    found = open_detection_set(tmp_path)
    left, right = found.images[0].boxes
    assert (left.x_min, left.y_min, left.y_max) == (0, HEIGHT / 4, 3 * HEIGHT / 4)
    assert left.x_max == pytest.approx(0.25 * WIDTH)
    assert right.x_max == WIDTH
    count, furthest = found.warnings
    assert "2 boxes run over the edge of their image and were clipped" in count
    assert "a.txt, line 1" in count
    assert "16.0 px" in furthest


def test_when_all_boxes_are_left_out_it_is_said_why(tmp_path):
    write_yolo(tmp_path, [("a", [HELMET])])
    (tmp_path / "labels" / "a.txt").write_text("0 0.1 0.5 0 0.5\n1 0.5 0.5 0.5 0\n")
    with pytest.raises(DataSetError, match=r"not one label; .*: 2 boxes have no width or no hei"):
        open_detection_set(tmp_path)


def test_the_same_line_twice(tmp_path):
    write_yolo(tmp_path, [("a", [HELMET])])
    (tmp_path / "labels" / "a.txt").write_text(yolo_text([HELMET, HEAD, HELMET]))
    found = open_detection_set(tmp_path)
    assert found.images[0].boxes == (HELMET, HEAD)
    assert "1 boxes stand twice" in found.warnings[0]


def test_empty_and_missing_label_files(tmp_path):
    write_yolo(tmp_path, [("a", [HELMET]), ("b", [])])
    picture(tmp_path / "images" / "c.png")
    found = open_detection_set(tmp_path)
    assert [len(found.boxes(i)) for i in range(3)] == [1, 0, 0]
    assert found.boxes(1).shape == (0, 4)
    (warning,) = found.warnings
    assert "1 images have no label file and count as without objects" in warning
    assert "c.png" in warning


def test_labels_without_a_picture(tmp_path):
    write_yolo(tmp_path, [("a", [HELMET])])
    (tmp_path / "labels" / "z.txt").write_text("")
    (warning,) = open_detection_set(tmp_path).warnings
    assert "1 label files have no image" in warning


def test_labels_of_no_picture_at_all(tmp_path):
    write_yolo(tmp_path, [("a", []), ("b", [])])
    with pytest.raises(DataSetError, match="has 2 images and not one label"):
        open_detection_set(tmp_path)


def test_two_pictures_for_one_label_file(tmp_path):
    write_yolo(tmp_path, [("a", [HELMET])])
    picture(tmp_path / "images" / "a.jpg")
    with pytest.raises(DataSetError, match=r"a\.jpg and a\.png would share one label file"):
        open_detection_set(tmp_path)


def test_other_formats_are_named(tmp_path):
    write_yolo(tmp_path, [("a", [HELMET])])
    (tmp_path / "images" / "b.BMP").write_bytes(b"BM")
    with pytest.raises(DataSetError, match=r"b\.BMP is neither JPEG nor PNG"):
        open_detection_set(tmp_path)


def test_classes_in_another_order(tmp_path):
    write_yolo(tmp_path, [("a", [HELMET, HEAD])])
    found = open_detection_set(tmp_path, classes=("helmet", "person", "head"))
    assert found.labels(0).tolist() == [0, 2]
    with pytest.raises(DataSetError, match=r"class 'head' is not among the classes helmet"):
        open_detection_set(tmp_path, classes=("helmet",))


def test_a_list_names_a_picture_twice(tmp_path):
    write_yolo(tmp_path, [("a", [HELMET])])
    (tmp_path / "train.txt").write_text("images/a.png\nimages/a.png\n")
    write_data_yaml(tmp_path, names=list(CLASSES), train="train.txt")
    found = open_detection_set(tmp_path)
    assert len(found) == 1
    assert "1 images are listed twice" in found.warnings[0]


@pytest.mark.parametrize("index", ["1", "1.0", "1.000000000000000000e+00", "+1"])
@pytest.mark.parametrize("score", ["", " 0.87"])
def test_whole_numbers_as_floats_write_them_and_a_score_behind(tmp_path, index, score):
    root = write_yolo(tmp_path, [("a", [HELMET])])
    (root / "labels" / "a.txt").write_text(
        f"{index} 0.5 0.5 0.2 0.2{score}\n{index} 0.4 0.5 0.2 0.2{score}\n"
    )
    found = open_detection_set(root)
    assert [box.label for box in found.images[0].boxes] == [CLASSES[1]] * 2
    said = [f"{found.name}: 2 labels have a score, "] if score else []
    assert [warning[: len(said[0])] for warning in found.warnings] == said
    assert all(warning.endswith("a.txt, line 1)") for warning in found.warnings)


@pytest.mark.parametrize("index", ["0.5", "nan", "inf", "-1.0", "1e300", "one"])
def test_an_index_that_is_none(tmp_path, index):
    root = write_yolo(tmp_path, [("a", [HELMET])])
    (root / "labels" / "a.txt").write_text(f"{index} 0.5 0.5 0.2 0.2\n")
    with pytest.raises(DataSetError, match="is no index"):
        open_detection_set(root)


def test_a_part_that_was_not_delivered_matters_to_whom_asks_for_it(tmp_path):
    write_yolo(tmp_path, [("a", [HELMET])], split="train")
    write_yolo(tmp_path, [("b", [HEAD])], split="val")
    (tmp_path / "data.yaml").write_text(
        f"names: {list(CLASSES)}\ntrain: images/train\nval: images/val\ntest: images/test\n"
    )
    assert [image.path.stem for image in open_for_measuring(tmp_path).images] == ["b"]
    with pytest.raises(DataSetError, match=r"'test' names .*images/test, which does not exist"):
        open_detection_set(tmp_path, "test")
    whole = open_detection_set(tmp_path)
    assert len(whole) == 2
    assert any("'test' names" in line and "left out" in line for line in whole.warnings)


def test_a_missing_part_to_measure_on_is_not_made_up_for(tmp_path):
    write_yolo(tmp_path, [("a", [HELMET])], split="train")
    (tmp_path / "data.yaml").write_text(
        f"names: {list(CLASSES)}\ntrain: images/train\nval: images/val\n"
    )
    with pytest.raises(DataSetError, match=r"'val' names .*; --split names another part: train$"):
        open_for_measuring(tmp_path)
    with pytest.raises(DataSetError, match=r"'val' names .*images/val, which does not exist$"):
        open_detection_set(tmp_path, "val")


def test_who_trains_on_a_set_of_which_train_alone_was_delivered_is_told(tmp_path):
    frames = [(name, [HELMET, HEAD]) for name in "abcdefgh"]
    write_yolo(tmp_path, frames, split="train")
    (tmp_path / "data.yaml").write_text(
        f"names: {list(CLASSES)}\ntrain: ../train/images\nval: ../valid/images\n"
        "test: ../test/images\n".replace("../train/images", "images/train")
    )
    train, val = open_train_and_val(tmp_path)
    assert (len(train), len(val)) == (6, 2)
    (line,) = train.warnings
    assert "'val' names" in line
    assert line.endswith("valid/images, which does not exist; it was left out")


def test_folders_inside(tmp_path):
    root = write_yolo(tmp_path, [("a", [HELMET]), ("b", [HEAD])])
    for folder, name in (("labels", "b.txt"), ("images", "b.png")):
        inside = root / folder / "night"
        inside.mkdir()
        (root / folder / name).rename(inside / name)
    (root / "labels" / "night" / "c.txt").write_text("")
    found = open_detection_set(root)
    assert [image.path.name for image in found.images] == ["a.png", "b.png"]
    assert [box.label for box in found.images[1].boxes] == ["head"]
    assert any("1 label files have no image" in line for line in found.warnings)
