"""Classes of labelled data: renamed, chosen, left out, or refused before the first frame."""

import shlex
from dataclasses import replace

import pytest

from codesign_ros.data.bag_writer import write_mine_bag
from codesign_ros.data.chosen import open_chosen
from codesign_ros.data.classes import ClassChoice, FoundClasses, namesakes
from codesign_ros.data.image_files import DataSetError
from codesign_ros.data.labelled import open_detection_set
from codesign_ros.types.boxes import Box
from codesign_ros.types.errors import CodesignError
from support.label_files import picture, write_coco, write_voc, write_yolo

KNOWN = ("person", "helmet", "head")
WORN = Box("Safety Helmet", 16.0, 12.0, 32.0, 24.0)
BARE = Box("No Safety Helmet", 0.0, 0.0, 8.0, 12.0)
VEST = Box("Vest", 1.0, 2.0, 9.0, 9.0)
NAMES = (WORN.label, BARE.label, VEST.label)
SEED, COUNT = 7, 6
FILES = [("a", (WORN, BARE)), ("b", (VEST,)), ("c", (BARE,))]
MAP = "Safety Helmet=helmet, No Safety Helmet=head"


def chosen(map=None, classes=None, ignore_unknown=False):
    texts = (None if each is None else [each] for each in (map, classes))
    return ClassChoice.given(*texts, ignore_unknown)


def written(root, layout):
    if layout == "coco":
        return write_coco(root, [(f"{s}.jpg", b) for s, b in FILES], "all", NAMES)
    if layout == "yolo":
        return write_yolo(root, FILES, names=NAMES)
    return write_voc(root, FILES)


def boxes_of(source):
    return [[box.label for box in frame.truth.boxes] for frame in source]


@pytest.mark.parametrize("layout", ["voc", "yolo", "coco"])
def test_every_layout_is_renamed(tmp_path, layout):
    root = written(tmp_path, layout)
    source = open_chosen(str(root), chosen(MAP, ignore_unknown=True), "detection", KNOWN)
    assert boxes_of(source) == [["helmet", "head"], [], ["head"]]
    assert source.names.classes == KNOWN
    assert source.names.warnings == (f"{root}: objects of 'Vest' are left out",)
    assert (source.frames, source.live) == (3, False)
    only = open_chosen(str(root), chosen(MAP, "head"), "detection", KNOWN)
    assert boxes_of(only) == [["head"], [], ["head"]]
    assert only.names.classes == ("head",)


@pytest.mark.parametrize("layout", ["voc", "yolo", "coco"])
@pytest.mark.parametrize(
    ("choice", "said"),
    [
        # The command to type: what a name plainly means is filled in.
        (
            chosen(),
            [
                "has objects of 'Safety Helmet', 'No Safety Helmet', 'Vest'",
                "it knows person, helmet, head",
                "--map 'Safety Helmet=helmet,No Safety Helmet=CLASS,Vest=CLASS'",
                "--ignore-unknown",
            ],
        ),
        (chosen(MAP), ["objects of 'Vest'", "--map Vest=CLASS"]),
        (
            chosen("Helm=helmet"),
            ["has no class 'Helm'", "it has Safety Helmet, No Safety"],
        ),
        (chosen("safety helmet=helmet"), ["no class 'safety helmet'", "mean 'Safety Helmet'?"]),
        (chosen("Safety Helmet=helmt"), ["network has no class 'helmt'", "mean 'helmet'?"]),
        (chosen(classes="Head"), ["network has no class 'Head'", "mean 'head'?"]),
        (chosen(classes="head"), ["nothing is left of", "none counts as head"]),
        (chosen(ignore_unknown=True), ["nothing is left of", "Safety Helmet=helmet"]),
    ],
)
def test_what_does_not_fit_is_refused_before_the_first_frame(tmp_path, layout, choice, said):
    root = written(tmp_path, layout)
    with pytest.raises(CodesignError) as refused:
        open_chosen(str(root), choice, "detection", KNOWN)
    for text in said:
        # VOC has its classes in the order of their names.
        if layout != "voc" or "," not in text:
            assert text in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("map", "classes", "text"),
    [
        ("helmet", None, "--map takes FOUND=CLASS"),
        ("=helmet", None, "--map takes FOUND=CLASS"),
        ("a=", None, "--map takes FOUND=CLASS"),
        ("a=b,a=c", None, "--map names 'a' twice"),
        (None, "a,b,a", "--classes names 'a' twice"),
        (None, ",", "--classes names no class"),
    ],
)
def test_options_that_are_written_wrong(map, classes, text):
    with pytest.raises(CodesignError, match=text):
        chosen(map, classes)


def test_names_may_have_blanks_commas_and_equals_signs():
    choice = chosen('" a, b=x",c=d=y')
    assert choice.renames == (("a, b", "x"), ("c=d", "y"))
    assert chosen("a=b,b=a").resolve(FoundClasses.of_labels(("a", "b")), None, "data").targets == {
        "a": "b",
        "b": "a",
    }  # at once, not one after the other


@pytest.mark.parametrize(
    "name",
    [
        "Helmet, red",
        'say "helmet"',
        '"helmet"',
        "it's a helmet",
        "a `b` $HOME",
        "c=d",
        "back\\slash",
    ],
)
def test_the_map_to_type_is_taken(name):
    other = "Vest, old"
    found = FoundClasses.of_labels((name, other))
    with pytest.raises(CodesignError) as refused:
        chosen().resolve(found, KNOWN, "data")
    typed = str(refused.value).partition("rename them, as in ")[2].partition(", or leave")[0]
    option, text = shlex.split(typed)
    names = chosen(text.replace("CLASS", "person")).resolve(found, KNOWN, "data")
    assert option == "--map"
    assert set(names.targets) == {name, other}
    assert None not in names.targets.values()
    assert shlex.split(chosen(text).words) == [option, text]


def test_blanks_and_capitals_get_a_hint():
    found = FoundClasses.of_labels((" Helmet", "HEAD"))
    with pytest.raises(CodesignError, match=r"--map (Helmet=helmet|HEAD=head|,){3}, or"):
        chosen().resolve(found, KNOWN, "data")
    names = chosen("Helmet=helmet,HEAD=head").resolve(found, KNOWN, "data")
    assert names.targets == {" Helmet": "helmet", "HEAD": "head"}
    learnt = chosen().resolve(FoundClasses.of_labels(("Helmet", "helmet")), None, "data")
    assert learnt.classes == ("Helmet", "helmet")
    assert "--map helmet=Helmet makes them one" in learnt.warnings[0]


def test_a_class_without_an_object_is_no_stranger():
    """Some exporters write a category above the others that no annotation has."""
    found = FoundClasses.of_labels(("helmet",), ("safety-gear", "helmet"))
    assert chosen().resolve(found, KNOWN, "data").targets == {
        "safety-gear": None,
        "helmet": "helmet",
    }


def test_two_classes_become_one_and_a_box_stays_one():
    names = chosen("hat=helmet").resolve(FoundClasses.of_labels(("hat", "helmet")), KNOWN, "data")
    same = [Box(label, 1, 2, 3, 4) for label in ("hat", "helmet")]
    assert names.boxes(same) == (Box("helmet", 1, 2, 3, 4),)


# ---- what a training makes of it


def test_a_training_learns_all_or_what_is_named(tmp_path):
    found = FoundClasses.of_sets(open_detection_set(write_voc(tmp_path, FILES)))
    assert chosen(MAP).resolve(found, None, "data").classes == ("head", "helmet", "Vest")
    assert chosen(MAP, ignore_unknown=True).resolve(found, None, "data").classes == (
        "helmet",
        "head",
    )
    assert chosen(MAP, "head,Vest", True).kept == ("head", "Vest")
    assert chosen(classes="Vest").resolve(found, None, "data").classes == ("Vest",)
    for choice, text in (
        (chosen(ignore_unknown=True), "a training learns all classes"),
        (chosen(classes="vest"), "data has no class 'vest'.*did you mean 'Vest'"),
        (chosen(MAP, "Helmet"), "data has no class 'Helmet'.*did you mean 'helmet'"),
    ):
        with pytest.raises(CodesignError, match=text):
            choice.resolve(found, None, "data")


def test_a_training_hints_at_what_its_start_knows():
    (line,) = namesakes(("Safety Helmet", "No Safety Helmet", "pump"), KNOWN)
    assert "--map 'Safety Helmet=helmet' lets it start" in line
    assert not namesakes(("helmet", "Helmet"), KNOWN)
    assert not namesakes(("Helmet",), ())


def test_a_part_without_any_object_left(tmp_path):
    whole = open_detection_set(write_voc(tmp_path, FILES))
    names = chosen(classes="Vest").resolve(FoundClasses.of_sets(whole), None, "data")
    assert [len(image.boxes) for image in names.set(whole).images] == [0, 1, 0]
    with pytest.raises(CodesignError, match="has no box of Vest: nothing is left"):
        names.set(replace(whole, images=whole.images[:1]))


# ---- sources


def test_numbers_that_nothing_names(tmp_path):
    root = write_yolo(tmp_path, FILES, names=NAMES)
    (root / "classes.txt").unlink()
    with pytest.raises(DataSetError, match="in their order, with --classes"):
        open_chosen(str(root), chosen(), "detection", KNOWN)
    source = open_chosen(str(root), chosen(classes="helmet,head,person"), "detection", KNOWN)
    assert boxes_of(source) == [["helmet", "head"], ["person"], ["head"]]
    both = chosen("hat=helmet,bare=head,vest=person", "hat,bare,vest")
    assert boxes_of(open_chosen(str(root), both, "detection", KNOWN)) == boxes_of(source)


def test_without_labels_there_is_nothing_to_rename(tmp_path):
    picture(tmp_path / "a.jpg")
    assert [f.truth for f in open_chosen(str(tmp_path), chosen(), "detection", KNOWN)] == [None]
    only = open_chosen(str(tmp_path), chosen(classes="head"), "detection", KNOWN)
    assert only.names.classes == ("head",)
    with pytest.raises(CodesignError, match=r"--map a=head: .* has no labels for detection"):
        open_chosen(str(tmp_path), chosen("a=head"), "detection", KNOWN)


def test_bags_and_the_mine_say_their_classes(tmp_path):
    write_mine_bag(tmp_path / "bag", seed=SEED, frames=COUNT)
    frames = ("empty", "helmets", "bare-headed")
    for spec in (str(tmp_path / "bag"), f"scenes:{SEED}"):
        plain = open_chosen(spec, chosen(), "detection", KNOWN, frames=COUNT)
        expected = boxes_of(plain)
        worn = open_chosen(
            spec, chosen("helmet=hat", "hat"), "detection", ("hat", "x"), frames=COUNT
        )
        assert boxes_of(worn) == [["hat"] * boxes.count("helmet") for boxes in expected]
        with pytest.raises(CodesignError, match=r"it knows helmet, head.*person=CLASS"):
            open_chosen(spec, chosen(), "detection", ("helmet", "head"), frames=COUNT)
        labels = [frame.truth.label for frame in plain]
        # Of a classifier, the class of the whole frame is meant.
        some = open_chosen(spec, chosen("helmets=safe", "safe"), "classification", ("safe",),
                           frames=COUNT)  # fmt: skip
        assert [f.truth.label for f in some] == ["safe"] * labels.count("helmets")
        assert open_chosen(spec, chosen(), "classification", frames, frames=COUNT).frames == COUNT


def test_boxes_are_no_classes_of_frames(tmp_path):
    root = write_voc(tmp_path, FILES)
    with pytest.raises(CodesignError, match="boxes and no class for a whole frame"):
        open_chosen(str(root), chosen(), "classification", KNOWN)
