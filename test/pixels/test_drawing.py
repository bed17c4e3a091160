"""Boxes on pictures: where ink goes, and where it does not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codesign_ros.pixels.drawing import COLOURS, colour_of, draw_boxes
from codesign_ros.types.boxes import Box

CLASSES = ("person", "helmet", "head")


def grey(height=400, width=640):
    return np.full((height, width, 3), 90, np.uint8)


def changed(before, after):
    return (before != after).any(2)


def has_colour(picture, colour):
    return (picture == colour).all(2).any()


def test_the_picture_given_is_left_alone():
    image = grey()
    drawn = draw_boxes(image, [Box("helmet", 50, 60, 200, 220, 0.5)], CLASSES)
    assert (image == 90).all()
    assert drawn.dtype == np.uint8
    assert drawn.shape == image.shape


def test_no_boxes_no_ink():
    image = grey()
    drawn = draw_boxes(image, [], CLASSES)
    assert (drawn == image).all()
    assert drawn is not image


@pytest.mark.parametrize(("height", "width"), [(400, 640), (1080, 1920)])
def test_the_four_sides_have_the_colour_of_the_class(height, width):
    box = Box("helmet", 0.3 * width, 0.4 * height, 0.5 * width, 0.8 * height, 0.87)
    drawn = draw_boxes(grey(height, width), [box], CLASSES)
    middle_x, middle_y = round(0.4 * width), round(0.6 * height)
    for x, y in (
        (round(box.x_min), middle_y),
        (round(box.x_max), middle_y),
        (middle_x, round(box.y_min)),
        (middle_x, round(box.y_max)),
    ):
        assert tuple(drawn[y, x]) == colour_of("helmet", CLASSES)
    assert (drawn[middle_y, middle_x] == 90).all(), "the inside stays visible"


def test_lines_and_text_grow_with_the_picture():
    box = (0.3, 0.4, 0.5, 0.8)
    ink = []
    for height, width in ((400, 640), (1080, 1728)):
        scaled = [v * s for v, s in zip(box, (width, height, width, height), strict=True)]
        image = grey(height, width)
        ink.append(changed(image, draw_boxes(image, [Box("head", *scaled)], CLASSES)).mean())
    # Lines of one width would cover a third of the share in a picture 2.7 times as large.
    assert 0.5 * ink[0] < ink[1] < 1.5 * ink[0]


@given(
    height=st.integers(1, 200),
    width=st.integers(1, 200),
    corners=st.lists(st.floats(-300, 500), min_size=4, max_size=4),
    label=st.sampled_from((*CLASSES, "a class with a very long name")),
)
@settings(max_examples=60, deadline=None)
def test_any_box_on_any_picture(height, width, corners, label):
    (x_min, x_max), (y_min, y_max) = sorted(corners[:2]), sorted(corners[2:])
    image = grey(height, width)
    drawn = draw_boxes(
        image, [Box(label, x_min, y_min, x_max, y_max)], (*CLASSES, "a class with a very long name")
    )
    visible = x_max > 0 and y_max > 0 and x_min < width and y_min < height
    assert drawn.shape == image.shape
    assert changed(image, drawn).any() == visible


@pytest.mark.parametrize(
    "corners",
    [(0, 0, 640, 400), (0, 0, 30, 20), (620, 0, 640, 20), (0, 380, 20, 400), (600, 390, 700, 450)],
)
def test_the_tag_is_whole_wherever_the_box_is(corners):
    """Its first and its last digit show as many pixels as where there is room all around."""

    def drawn(label, where, score):
        return draw_boxes(grey(), [Box(label, *where, score)], [label])

    roomy = (300, 200, 310, 210)
    for other in (("2", 0.55), ("1", 0.58)):
        counts = [
            changed(drawn("1", where, 0.55), drawn(other[0], where, other[1])).sum()
            for where in (roomy, corners)
        ]
        assert counts[0] == counts[1] > 0


def test_tags_of_neighbours_do_not_hide_each_other():
    boxes = [Box("person", 300, 150, 340, 300, 0.9), Box("helmet", 310, 152, 330, 165, 0.8)]
    together = draw_boxes(grey(), boxes, CLASSES)
    for box in boxes:
        alone = draw_boxes(grey(), [box], CLASSES)
        colour = colour_of(box.label, CLASSES)
        counts = [(picture == colour).all(2).sum() for picture in (together, alone)]
        assert counts[0] >= 0.9 * counts[1]


def test_without_scores_the_tag_is_shorter():
    box = [Box("head", 200, 200, 300, 300, 0.5)]
    image = grey()
    with_score = changed(image, draw_boxes(image, box, CLASSES)).sum()
    without = changed(image, draw_boxes(image, box, CLASSES, scores=False)).sum()
    assert without < with_score


def test_colours_follow_the_order_of_the_classes():
    assert [colour_of(name, CLASSES) for name in CLASSES] == list(COLOURS[:3])
    many = [f"class {i}" for i in range(9)]
    assert colour_of("class 7", many) == COLOURS[0]
    with pytest.raises(ValueError, match="hat"):
        draw_boxes(grey(), [Box("hat", 0, 0, 9, 9)], CLASSES)
