import pytest
from hypothesis import given, settings

from codesign_ros.data.image_files import DataSetError
from codesign_ros.data.labelled import (
    open_detection_set,
    open_for_measuring,
    open_train_and_val,
)
from codesign_ros.data.voc import VocFolder
from codesign_ros.types.boxes import Box
from support.label_files import (
    CLASSES,
    HEIGHT,
    WIDTH,
    assert_same_boxes,
    boxes_inside,
    picture,
    voc_xml,
    write_voc,
)

HELMET = Box("helmet", 10.0, 5.0, 30.0, 25.0)
HEAD = Box("head", 0.0, 0.0, 8.5, 9.0)


def one_file(root, xml):
    """A set whose only annotation is this text."""
    write_voc(root, [("a", [HELMET])])
    (root / "Annotations" / "a.xml").write_text(xml)
    return root


@settings(max_examples=20, deadline=None)
@given(boxes=boxes_inside())
def test_what_was_written_is_read(tmp_path_factory, boxes):
    root = write_voc(tmp_path_factory.mktemp("voc"), [("a", boxes)])
    found = open_detection_set(root, classes=CLASSES)
    assert_same_boxes(found.images[0].boxes, boxes, tolerance_px=0)
    assert found.warnings == ()


def test_lists_of_the_splits(tmp_path):
    root = write_voc(tmp_path / "set", [("a", [HELMET]), ("b", [HEAD]), ("c", [HEAD]), ("d", [])])
    lists = root / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("c\na\nd\n\n")
    (lists / "val.txt").write_text("b\nb\n")
    (lists / "head_train.txt").write_text("a -1\nc 1\n")
    (lists / ".val.txt").write_bytes(b"\0\5\x16\7")
    assert VocFolder.find(root).splits == ("train", "val")
    train, val = open_train_and_val(root)
    assert [i.path.stem for i in train.images] == ["c", "a", "d"]
    assert [i.path.stem for i in val.images] == ["b"]
    assert train.classes == val.classes == ("head", "helmet")
    assert "1 images are listed twice" in val.warnings[0]
    assert len(open_detection_set(root)) == 4
    (lists / "val.txt").write_text("b\nghost\n")
    with pytest.raises(DataSetError, match=r"val\.txt, line 2: there is no .*ghost\.xml"):
        open_detection_set(root, "val")


@pytest.mark.parametrize("layout", ["lists", "folders"])
def test_a_broken_file_matters_to_whom_asks_for_it(tmp_path, layout):
    if layout == "lists":
        write_voc(tmp_path, [("a", [HELMET]), ("b", [HEAD])])
        lists = tmp_path / "ImageSets" / "Main"
        lists.mkdir(parents=True)
        (lists / "train.txt").write_text("a\n")
        (lists / "val.txt").write_text("b\n")
        broken = tmp_path / "Annotations" / "a.xml"
    else:
        write_voc(tmp_path / "train", [("a", [HELMET])])
        write_voc(tmp_path / "val", [("b", [HEAD])])
        broken = tmp_path / "train" / "Annotations" / "a.xml"
    broken.write_text("<annotation><object>")
    found = open_for_measuring(tmp_path)
    assert [image.boxes for image in found.images] == [(HEAD,)]
    (warning,) = found.warnings
    assert "1 .xml files of other parts cannot be read; their classes were left out" in warning
    assert f"{broken} is no sound XML" in warning
    for read in (open_train_and_val, open_detection_set):
        with pytest.raises(DataSetError, match=r"a\.xml is no sound XML"):
            read(tmp_path)


def test_pictures_and_annotations_side_by_side(tmp_path):
    for split, boxes in (("train", [HELMET]), ("valid", [HEAD])):
        picture(tmp_path / split / "a.png")
        (tmp_path / split / "a.xml").write_text(voc_xml("a.png", boxes))
    train, val = open_train_and_val(tmp_path)
    assert (train.images[0].boxes, val.images[0].boxes) == ((HELMET,), (HEAD,))
    assert train.classes == ("head", "helmet")  # of all parts, so that indices agree
    assert len(open_detection_set(tmp_path)) == 2
    assert open_detection_set(tmp_path / "train").images[0].boxes == (HELMET,)


def test_lower_case_folders_and_the_name_that_the_file_states(tmp_path):
    picture(tmp_path / "images" / "frame.jpg")
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "0001.xml").write_text(voc_xml("C:\\shots\\frame.jpg", [HEAD]))
    (image,) = open_detection_set(tmp_path).images
    assert image.path.name == "frame.jpg"
    assert image.boxes == (HEAD,)


def test_difficult_objects_are_kept_and_noted(tmp_path):
    root = one_file(tmp_path, voc_xml("a.jpg", [HELMET, HEAD], difficult=1))
    found = open_detection_set(root)
    assert found.images[0].boxes == (HELMET, HEAD)
    (warning,) = found.warnings
    assert "2 objects are marked difficult" in warning
    assert "a.xml, object 1" in warning


@pytest.mark.parametrize("no", ["0", " 0.0 ", "00", "false", "False", "no", ""])
def test_objects_that_are_not_difficult(tmp_path, no):
    root = one_file(tmp_path, voc_xml("a.jpg", [HELMET], difficult=no))
    assert open_detection_set(root).warnings == ()


def test_a_picture_without_annotation_is_left_out_and_noted(tmp_path):
    root = write_voc(tmp_path, [("a", [HELMET])])
    picture(root / "JPEGImages" / "b.jpg")
    found = open_detection_set(root)
    assert [image.path.stem for image in found.images] == ["a"]
    assert "1 images have no .xml file" in found.warnings[0]
    assert "b.jpg" in found.warnings[0]


def test_no_size_or_zeros(tmp_path):
    for size in (None, (0, 0)):
        root = one_file(tmp_path / str(size), voc_xml("a.jpg", [HELMET], size=size))
        assert (open_detection_set(root).images[0].height) == HEIGHT


def test_parts_of_a_person_are_no_objects(tmp_path):
    part = "<part><name>foot</name><bndbox><xmin>1</xmin></bndbox></part>"
    xml = voc_xml("a.jpg", [HELMET]).replace("</object>", part + "</object>")
    assert open_detection_set(one_file(tmp_path, xml)).images[0].boxes == (HELMET,)


BOMB = (
    '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">'
    '<!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><annotation><filename>&b;</filename></annotation>'
)


@pytest.mark.parametrize(
    ("xml", "message"),
    [
        ("<annotation><object>", r"a\.xml is no sound XML: no element found"),
        ("", r"a\.xml is no sound XML"),
        (BOMB, r"a\.xml is no sound XML: it has a document type"),
        ("<html/>", r"a\.xml is no Pascal VOC annotation: its root is <html>"),
        ("<annotation><object/></annotation>", r"a\.xml, object 1 has no <name>"),
        (
            "<annotation><object><name>x</name></object></annotation>",
            r"a\.xml, object 1 \('x'\) has no <bndbox>",
        ),
        (
            voc_xml("a.jpg", [HEAD, HELMET]).replace("10.0", "ten"),
            r"a\.xml, object 2 has 'ten' as <xmin>; a number",
        ),
        (
            voc_xml("a.jpg", [HELMET]).replace("<xmin>10.0</xmin>", ""),
            r"object 1 has no <xmin>",
        ),
        (voc_xml("a.jpg", [HELMET]).replace("10.0", "nan"), "object 1 has 'nan' as <xmin>"),
        (voc_xml("a.jpg", [HELMET]).replace("10.0", "31"), "minimum above its maximum"),
        (
            voc_xml("a.jpg", [Box("helmet", 64.0, 5.0, 80.0, 9.0)]),
            r"lies outside its image, a\.jpg of 64x48",
        ),
        (
            voc_xml("a.jpg", [HELMET], size=(100, 200)),
            r"a\.jpg is 64x48, its annotation was made for 200x100",
        ),
        (voc_xml("a.jpg", [], size=(48, 64)), "has no object in any .xml"),
        (voc_xml("a.jpg", [HELMET]).replace(">64<", ">inf<"), "a number belongs there"),
    ],
)
def test_bad_annotations(tmp_path, xml, message):
    root = one_file(tmp_path, xml)
    with pytest.raises(DataSetError, match=message) as caught:
        open_detection_set(root)
    assert "\n" not in str(caught.value)


def test_a_class_that_nobody_asked_for(tmp_path):
    root = one_file(tmp_path, voc_xml("a.jpg", [HELMET, Box("dog", 1.0, 1.0, 5.0, 5.0)]))
    with pytest.raises(
        DataSetError, match=r"a\.xml, object 2: class 'dog' is not among .* head, helmet"
    ):
        open_detection_set(root, classes=CLASSES)


def test_a_missing_picture(tmp_path):
    root = write_voc(tmp_path, [("a", [HELMET]), ("b", [HEAD])])
    (root / "JPEGImages" / "b.jpg").unlink()
    with pytest.raises(DataSetError, match=r"b\.xml: there is no image b "):
        open_detection_set(root)


def test_text_in_another_encoding(tmp_path):
    root = write_voc(tmp_path, [("a", [HELMET])])
    file = root / "Annotations" / "a.xml"
    file.write_bytes(voc_xml("a.jpg", [Box("Grubenhelm-ä", 1.0, 1.0, WIDTH, 5.0)]).encode("latin1"))
    with pytest.raises(DataSetError, match=r"a\.xml is not UTF-8"):
        open_detection_set(root)


@pytest.mark.parametrize("encoding", ["latin1", "gb18030", "utf-16", "shift_jis"])
def test_the_encoding_that_a_file_declares(tmp_path, encoding):
    name = "Helm-ä" if encoding in ("latin1", "utf-16") else "安全帽"
    root = write_voc(tmp_path, [("a", [HELMET])])
    text = f'<?xml version="1.0" encoding="{encoding}"?>\n' + voc_xml(
        "a.jpg", [Box(name, 1.0, 1.0, WIDTH, 5.0)]
    )
    (root / "Annotations" / "a.xml").write_bytes(text.encode(encoding))
    assert open_detection_set(root).classes == (name,)


def test_an_encoding_that_nobody_knows(tmp_path):
    root = write_voc(tmp_path, [("a", [HELMET])])
    text = '<?xml version="1.0" encoding="klingon"?>\n' + voc_xml("a.jpg", [HELMET])
    (root / "Annotations" / "a.xml").write_text(text)
    with pytest.raises(DataSetError, match="written in 'klingon', which is no known encoding"):
        open_detection_set(root)


@pytest.mark.parametrize("encoding", ["undefined", "punycode", "idna", "utf-7", "unicode_escape"])
def test_text_that_is_not_in_the_encoding_that_it_declares(tmp_path, encoding):
    root = write_voc(tmp_path, [("a", [HELMET])])
    text = f'<?xml version="1.0" encoding="{encoding}"?>\n<annotation>\\x\xff</annotation>'
    (root / "Annotations" / "a.xml").write_bytes(text.encode("latin1"))
    with pytest.raises(DataSetError, match=rf"a\.xml is not {encoding.upper()} text"):
        open_detection_set(root)


def test_a_box_without_area_is_left_out_and_counted(tmp_path):
    root = write_voc(tmp_path, [("a", [HELMET, HEAD])])
    file = root / "Annotations" / "a.xml"
    file.write_text(voc_xml("a.jpg", [HEAD, HELMET]).replace("10.0", "30"))
    found = open_detection_set(root)
    assert [box.label for box in found.images[0].boxes] == ["head"]
    assert "1 boxes have no width or no height and were left out" in found.warnings[0]


@pytest.mark.parametrize("line", ["a", "a.jpg", "a.xml", " a 1", "a.jpg -1", "a\r"])
def test_lines_of_lists_with_an_ending_or_a_mark(tmp_path, line):
    root = write_voc(tmp_path, [("a", [HELMET]), ("b", [HEAD])])
    lists = root / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text(line + "\n")
    assert [image.path.stem for image in open_detection_set(root, "val").images] == ["a"]


@pytest.mark.parametrize(
    "line",
    ["s1/a", "s1/a.jpg", "s1/a.xml", "s1\\a", "s1\\a.jpg", "./s1/a", "s1/a.jpg 1", "s1/a -1"],
)
def test_lines_of_lists_with_a_folder(tmp_path, line):
    root = tmp_path
    for folder, box in (("s1", HELMET), ("s2", HEAD), ("", HEAD)):
        picture(root / "JPEGImages" / folder / "a.jpg")
        (root / "Annotations" / folder).mkdir(parents=True, exist_ok=True)
        (root / "Annotations" / folder / "a.xml").write_text(voc_xml("a.jpg", [box]))
    lists = root / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text(line + "\n")
    (image,) = open_detection_set(root, "val").images
    assert image.path == root / "JPEGImages" / "s1" / "a.jpg"
    assert image.boxes == (HELMET,)


@pytest.mark.parametrize("start", ["JPEGImages/", "/x/JPEGImages/", "C:\\x\\JPEGImages\\"])
def test_lines_of_lists_that_are_paths_of_pictures(tmp_path, start):
    root = write_voc(tmp_path, [("a", [HELMET]), ("b", [HEAD])])
    lists = root / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text(f"{start}b.jpg\n")
    assert [image.boxes for image in open_detection_set(root, "val").images] == [(HEAD,)]


@pytest.mark.parametrize("line", ["/", ".", "..", "s3/b.jpg"])
def test_lines_of_lists_that_name_nothing(tmp_path, line):
    root = write_voc(tmp_path, [("a", [HELMET])])
    lists = root / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text(line + "\n")
    with pytest.raises(DataSetError, match=r"val\.txt, line 1: there is no .*\.xml"):
        open_detection_set(root, "val")


@pytest.mark.parametrize("name", ["frame.jpg", "s1/frame.jpg", "s1\\frame.jpg"])
def test_the_name_that_a_file_in_a_folder_states(tmp_path, name):
    picture(tmp_path / "JPEGImages" / "s1" / "frame.jpg")
    picture(tmp_path / "JPEGImages" / "s2" / "frame.jpg")
    (tmp_path / "Annotations" / "s1").mkdir(parents=True)
    (tmp_path / "Annotations" / "s1" / "0001.xml").write_text(voc_xml(name, [HEAD]))
    found = open_detection_set(tmp_path)
    assert [image.path.parent.name for image in found.images] == ["s1"]
    assert "1 images have no .xml file" in found.warnings[0]


def test_folders_inside(tmp_path):
    root = write_voc(tmp_path, [("a", [HELMET]), ("b", [HEAD])])
    for folder, name in (("Annotations", "b.xml"), ("JPEGImages", "b.jpg")):
        inside = root / folder / "night"
        inside.mkdir()
        (root / folder / name).rename(inside / name)
    found = open_detection_set(root)
    assert [image.path.name for image in found.images] == ["a.jpg", "b.jpg"]
    assert [box.label for box in found.images[1].boxes] == ["head"]
