"""The overlay's painter: on its own thread, the newest frames first to survive, no frame twice."""

import threading

import numpy as np
import pytest

from codesign_ros.nodes.overlay import OverlayPainter
from codesign_ros.pixels.drawing import draw_boxes
from codesign_ros.runtime.messages import Stamp
from codesign_ros.types.boxes import Box
from support.runtime import PATIENCE_S, no_thread_left, wait_until

CLASSES = ("person", "helmet")
BOX = Box("helmet", 5, 5, 30, 20, 0.9)


@pytest.fixture
def painted():
    return []


@pytest.fixture
def painter(painted):
    with no_thread_left():
        painter = OverlayPainter(CLASSES, lambda *drawn: painted.append(drawn))
        yield painter
        painter.close()


def picture(value):
    return np.full((40, 60, 3), value, np.uint8)


def test_a_picture_with_its_boxes(painter, painted):
    stamp = Stamp(5_000_000_007, "front")
    painter.draw(stamp, lambda: picture(90), [BOX])
    wait_until(lambda: painted)
    ((drawn, stamp_of_it),) = painted
    assert stamp_of_it == stamp
    np.testing.assert_array_equal(drawn, draw_boxes(picture(90), [BOX], CLASSES))


def test_a_frame_that_cannot_be_drawn_costs_itself_alone(painter, painted, caplog):
    painter.draw(Stamp(1), lambda: 1 / 0, [])
    painter.draw(Stamp(2), lambda: picture(1), [Box("lamp", 0, 0, 9, 9)])
    painter.draw(Stamp(3), lambda: picture(1), [BOX])
    wait_until(lambda: painted)
    assert [stamp.stamp_ns for _, stamp in painted] == [3]
    assert caplog.text.count("could not be drawn") == 2


def test_where_it_cannot_keep_up_the_oldest_are_left_out(painter, painted):
    """One is being drawn while nine more come: memory for a few frames, however many come."""
    started, go_on = threading.Event(), threading.Event()

    def slow():
        started.set()
        assert go_on.wait(PATIENCE_S)
        return picture(0)

    painter.draw(Stamp(0), slow, [])
    assert started.wait(PATIENCE_S)
    for number in range(1, 10):
        painter.draw(Stamp(number), lambda: picture(0), [])
    go_on.set()
    wait_until(lambda: painted and painted[-1][1].stamp_ns == 9)
    stamps = [stamp.stamp_ns for _, stamp in painted]
    assert stamps == [0, 6, 7, 8, 9]
