import json

import pytest
from hypothesis import given, settings

from codesign_ros.data.image_files import DataSetError
from codesign_ros.data.labelled import (
    open_detection_set,
    open_for_measuring,
    open_train_and_val,
)
from codesign_ros.data.sources import FolderSource, LabelledSource, open_source
from codesign_ros.types.boxes import Box
from support.label_files import (
    CLASSES,
    assert_same_boxes,
    boxes_inside,
    coco_document,
    picture,
    write_coco,
    write_voc,
    write_yolo,
)

HELMET = Box("helmet", 10.0, 5.0, 30.0, 25.0)
HEAD = Box("head", 0.0, 0.0, 8.0, 9.0)


def one_file(root, change):
    """A set of one picture, its document changed by ``change``."""
    picture(root / "a.jpg")
    document = coco_document([("a.jpg", [HELMET, HEAD])])
    document = change(document) or document
    file = root / "labels.json"
    file.write_text(document if isinstance(document, str) else json.dumps(document))
    return file


@settings(max_examples=20, deadline=None)
@given(boxes=boxes_inside())
def test_what_was_written_is_read(tmp_path_factory, boxes):
    root = write_coco(tmp_path_factory.mktemp("coco"), [("a.jpg", boxes)])
    found = open_detection_set(root)
    assert set(found.classes) == set(CLASSES)
    assert_same_boxes(found.images[0].boxes, boxes, tolerance_px=1e-9)
    assert found.warnings == ()


def test_files_of_the_splits(tmp_path):
    write_coco(tmp_path, [("a.jpg", [HELMET]), ("b.jpg", [])], split="train2017")
    write_coco(tmp_path, [("a.jpg", [HEAD])], split="val2017")
    train, val = open_train_and_val(tmp_path)
    assert [image.boxes for image in train.images] == [(HELMET,), ()]
    assert [image.boxes for image in val.images] == [(HEAD,)]
    assert train.classes == val.classes == ("head", "helmet")  # by their ids, 87 and 90
    assert len(open_detection_set(tmp_path, "val2017")) == 1
    assert len(open_detection_set(tmp_path)) == 3
    with pytest.raises(DataSetError, match="no split 'test'; its splits: train2017, val2017"):
        open_detection_set(tmp_path, "test")


@pytest.mark.parametrize("folder", ["", "images", "../images", "../images/labels", ".."])
def test_where_the_pictures_may_lie(tmp_path, folder):
    picture(tmp_path / "set" / folder / "a.jpg")
    (tmp_path / "set").mkdir(exist_ok=True)
    file = tmp_path / "set" / "labels.json"
    file.write_text(json.dumps(coco_document([("a.jpg", [HELMET])])))
    assert open_detection_set(file).images[0].boxes == (HELMET,)


@pytest.mark.parametrize(
    ("name", "folder", "stated"),
    [
        ("result.json", "images", "images/a.jpg"),  # Label Studio
        ("result.json", "images", "images\\a.jpg"),
        ("labels.json", "data", "a.jpg"),  # FiftyOne
        ("annotations.json", "JPEGImages", "JPEGImages/a.jpg"),  # labelme2coco
        ("annotations.json", "JPEGImages", "a.jpg"),
        ("a.JSON", "", "a.jpg"),
        ("_annotations.coco.json", "", "a.jpg"),
        ("train.json", "train", "a.jpg"),
        ("annotations/train.json", "images", "a.jpg"),
    ],
)
def test_one_file_of_any_name_in_a_folder(tmp_path, name, folder, stated):
    root = tmp_path / "set"
    picture(root / folder / "a.jpg")
    document = coco_document([(stated, [HELMET])])
    # What comes first differs.
    contents = [
        {"info": {}, "licenses": [], **document},
        {"type": "instances", "annotations": None, **document},
    ]
    (root / name).parent.mkdir(exist_ok=True)
    for content in contents:
        (root / name).write_text(json.dumps(content, indent=1))
        found = open_detection_set(root)
        assert found.images[0].boxes == (HELMET,)
        assert isinstance(open_source(str(root)), LabelledSource)
        for encoding in ("utf-8-sig", "utf-16"):  # as Windows' programs write it
            (root / name).write_text(json.dumps(content), encoding=encoding)
            assert open_detection_set(root).images[0].boxes == (HELMET,)
    (root / "other.json").write_text(json.dumps(contents[0]))
    with pytest.raises(DataSetError, match=r"several files of COCO: .*\.json; name one of them$"):
        open_source(str(root))
    assert open_detection_set(root / name).images[0].boxes == (HELMET,)


STRAYS = [
    "",
    "{",
    "[" * 9000,
    "{}",
    '{"images": ["a.jpg"]}',
    '{"images": [], "annotations": [], "categories": []}',
    '{"images": [{"id": 1, "file_name": "a.jpg"}], "categories": []}',  # a test part's
    '[{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 1}]',  # answers
    '{"version": "5.0", "shapes": [], "imagePath": "a.jpg", "imageData": "' + "A" * 9000 + '"}',
]


@pytest.mark.parametrize("stray", STRAYS, ids=lambda stray: stray[:12])
def test_another_programs_json_makes_no_data_set(tmp_path, stray):
    picture(tmp_path / "a.jpg")
    (tmp_path / "stray.json").write_text(stray)
    (tmp_path / "folder.json").mkdir()
    assert isinstance(open_source(str(tmp_path)), FolderSource)


@pytest.mark.parametrize("write", [write_yolo, write_voc])
def test_a_json_beside_another_layout_does_not_count(tmp_path, write):
    root = write(tmp_path / "set", [("a", [HELMET])])
    (root / "export.json").write_text(json.dumps(coco_document([("no.jpg", [HEAD])])))
    assert [box.label for box in open_detection_set(root).images[0].boxes] == ["helmet"]


def test_pictures_beside_the_file_of_their_split(tmp_path):
    for split, boxes in (("train", [HELMET]), ("valid", [HEAD])):
        picture(tmp_path / split / "a.jpg")
        file = tmp_path / split / "_annotations.coco.json"
        file.write_text(json.dumps(coco_document([("a.jpg", boxes)])))
    train, val = open_train_and_val(tmp_path)
    assert (train.images[0].boxes, val.images[0].boxes) == ((HELMET,), (HEAD,))


def test_crowds_and_boxes_of_no_size_are_left_out_and_noted(tmp_path):
    def change(document):
        first, second = document["annotations"]
        document["annotations"] += [
            {**first, "id": 1, "iscrowd": 1},
            {**second, "id": 2, "bbox": [3, 4, 5, 0]},
        ]

    found = open_detection_set(one_file(tmp_path, change))
    assert found.images[0].boxes == (HELMET, HEAD)
    crowd, empty = found.warnings
    assert "1 annotations are crowds" in crowd
    assert "what a network finds in one counts as wrong" in crowd
    assert "annotation 2 (id 1)" in crowd
    assert "1 boxes have no width or no height" in empty


@pytest.mark.parametrize("none", [None, [], "absent"])
def test_annotations_without_a_box_are_left_out_and_noted(tmp_path, none):
    def without_boxes(which):
        def change(document):
            for entry in document["annotations"][which]:
                entry["bbox"] = none
                if none == "absent":
                    del entry["bbox"]

        return change

    found = open_detection_set(one_file(tmp_path, without_boxes(slice(1, 2))))
    assert found.images[0].boxes == (HELMET,)
    (warning,) = found.warnings
    assert "1 annotations have no bbox and were left out (first: " in warning
    assert "annotation 1 (id 1001)" in warning
    with pytest.raises(DataSetError, match=r"not one label; .*: 2 annotations have no bbox and"):
        open_detection_set(one_file(tmp_path, without_boxes(slice(2))))


def test_shares_of_the_picture_are_no_pixels(tmp_path):
    def change(document):
        (one, _) = document["annotations"]
        boxes = [[0.1, 0.1 * n, 0.3, 0.2] for n in range(6)]
        document["annotations"] = [{**one, "id": n, "bbox": b} for n, b in enumerate(boxes)]

    (warning,) = open_detection_set(one_file(tmp_path, change)).warnings
    assert "6 boxes lie in the first pixel: shares of the picture? COCO's are in pixels" in warning


def test_scores_are_noted(tmp_path):
    def change(document):
        first, second = document["annotations"]
        first["score"], second["score"] = 0.5, None

    (warning,) = open_detection_set(one_file(tmp_path, change)).warnings
    assert "1 labels have a score" in warning
    assert "annotation 0" in warning


@pytest.mark.parametrize(
    "fields",
    [{"bbox": None}, {"bbox": []}, {"category_id": 5}, {"image_id": 5}, {"image_id": None}],
)
@pytest.mark.parametrize("yes", [1, "1", 1.0, True, "true"])
def test_nothing_is_asked_of_a_crowd(tmp_path, fields, yes):
    def change(document):
        document["annotations"].append({**document["annotations"][0], "iscrowd": yes, **fields})

    found = open_detection_set(one_file(tmp_path, change))
    assert found.images[0].boxes == (HELMET, HEAD)
    assert "1 annotations are crowds" in found.warnings[0]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "is no sound JSON"),
        ("[]", "it is not a JSON object"),
        ('{"images": [], "annotations": []}', "it has no list 'categories'"),
        ('{"categories": [{"id": 1}]}', "category 0: 'name' must be a text"),
    ],
)
def test_a_broken_file_matters_to_whom_asks_for_it(tmp_path, text, reason):
    write_coco(tmp_path, [("a.jpg", [HELMET])], split="val2017")
    file = tmp_path / "annotations" / "instances_train2017.json"
    file.write_text(text)
    found = open_for_measuring(tmp_path)
    assert [image.boxes for image in found.images] == [(HELMET,)]
    (warning,) = found.warnings
    assert str(file) in warning
    assert reason in warning
    assert warning.endswith("; its categories were left out")
    for read in (open_train_and_val, open_detection_set):
        with pytest.raises(DataSetError, match=reason):
            read(tmp_path)


@pytest.mark.parametrize("lacking", [["annotations"], ["annotations", "categories"]])
def test_a_part_that_came_without_annotations(tmp_path, lacking):
    write_coco(tmp_path, [("a.jpg", [HELMET])], split="val2017")
    document = coco_document([("b.jpg", []), ("c.jpg", [])])
    for key in lacking:
        del document[key]
    file = tmp_path / "annotations" / "instances_test2017.json"
    file.write_text(json.dumps(document))
    assert open_for_measuring(tmp_path).warnings == ()
    whole = open_detection_set(tmp_path)
    assert [image.path.name for image in whole.images] == ["a.jpg"]
    assert whole.warnings == (f"{file} has no annotations: its 2 images were left out",)
    with pytest.raises(DataSetError, match="it has no list 'annotations'"):
        open_detection_set(tmp_path, "test2017")


def without(key):
    def change(document):
        del document[key]

    return change


def annotation(**fields):
    def change(document):
        document["annotations"][1].update(fields)

    return change


def image(**fields):
    def change(document):
        document["images"][0].update(fields)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda _: "{", r"labels\.json is no sound JSON"),
        (lambda _: "[" * 100_000, r"labels\.json is no sound JSON"),
        (lambda _: "[]", "it is not a JSON object"),
        (without("images"), "it has no list 'images'"),
        (without("annotations"), "it has no list 'annotations'"),
        (without("categories"), "it has no list 'categories'"),
        (annotation(image_id=5), r"annotation 1 \(id 1001\): there is no image with id 5"),
        (annotation(image_id="five"), "annotation 1 .*: 'image_id' must be a whole number"),
        (annotation(category_id=5), "annotation 1 .*: there is no category with id 5"),
        (annotation(bbox=[1, 2, 3]), "bbox must be 4 numbers"),
        (annotation(bbox=[1, 2, 3, None]), "bbox must be 4 numbers"),
        (annotation(bbox=[1, 2, 3, 10**400]), "bbox must be 4 numbers"),
        (annotation(bbox="1 2 3 4"), "'bbox' must be a list"),
        (annotation(bbox=[1, 2, float("nan"), 4]), "annotation 1 .*not a finite number"),
        (annotation(bbox=[5, 5, -2, 4]), "annotation 1 .*minimum above its maximum"),
        (annotation(bbox=[64, 5, 2, 4]), r"annotation 1 .*outside its image, a\.jpg of 64x48"),
        (image(id=None), "image 0: 'id' must be a whole number"),
        (image(file_name=3), "image 0: 'file_name' must be a text"),
        (image(file_name="b.jpg"), r"image b\.jpg is in none of"),
        (image(file_name="../a.jpg"), "leads out of the data set"),
        (image(file_name="/a.jpg"), "leads out of the data set"),
        (image(width=640), r"a\.jpg is 64x48, its annotation was made for 640x48"),
        (lambda d: d["images"].append(d["images"][0]), "image 1: id 700 stands twice"),
        (lambda d: d["images"].append({**d["images"][0], "id": 1}), r"has image .*a\.jpg twice"),
        (lambda d: d["images"].append(7), "image 1: 'id' must be"),
        (lambda d: d["categories"].append(d["categories"][0]), "category 2: id 90 stands twice"),
        (
            lambda d: d["categories"].append({"id": 1, "name": "head"}),
            "has class 'head' twice",
        ),
        (lambda d: d.update(annotations=[]), "has 1 images and not one label"),
        (lambda d: d.update(annotations=[], images=[]), "has no images"),
        (lambda d: d.update(annotations=[], categories=[]), "has no classes"),
    ],
)
def test_bad_documents(tmp_path, change, message):
    def changed(document):
        result = change(document)
        return result if isinstance(result, str) else document

    with pytest.raises(DataSetError, match=message) as caught:
        open_detection_set(one_file(tmp_path, changed))
    assert "\n" not in str(caught.value)


def test_files_that_disagree_on_a_category(tmp_path):
    write_coco(tmp_path, [("a.jpg", [HELMET])], split="train")
    write_coco(tmp_path, [("a.jpg", [HELMET])], split="val")
    file = tmp_path / "annotations" / "instances_val.json"
    file.write_text(file.read_text().replace('"head"', '"hand"'))
    with pytest.raises(DataSetError, match="give category 87 two names, 'head' and 'hand'"):
        open_detection_set(tmp_path)


def test_classes_that_are_asked_for(tmp_path):
    file = one_file(tmp_path, lambda document: None)
    assert open_detection_set(file, classes=("head", "x", "helmet")).labels(0).tolist() == [2, 0]
    with pytest.raises(DataSetError, match=r"annotation 1 .* class 'head' is not among .* helmet"):
        open_detection_set(file, classes=("helmet",))


@pytest.mark.parametrize("no", ["0", " 0", 0.0, "", None, False, "false", "FALSE", "no"])
def test_numbers_as_other_programs_write_them(tmp_path, no):
    root = write_coco(tmp_path, [("a.png", [HELMET])])
    file = root / "annotations" / "instances_train2017.json"
    document = json.loads(file.read_text())
    for entry in document["annotations"]:
        entry |= {
            "image_id": f"{entry['image_id']}",
            "category_id": float(entry["category_id"]),
            "iscrowd": no,
        }
    file.write_text(json.dumps(document))
    (image,) = open_detection_set(root).images
    assert [box.label for box in image.boxes] == ["helmet"]
