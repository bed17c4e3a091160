"""Pictures that a neck learns from, of a source."""

import cv2
import numpy as np
from rich.progress import Progress

from codesign_ros.data.sources import open_source
from codesign_ros.pixels.letterbox import Letterbox
from codesign_ros.training.neck.frames import open_pictures
from codesign_ros.training.neck.options import NeckOptions
from codesign_ros.types.tensors import InputSpec

SPEC = InputSpec(160, 256, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def opened(data):
    options = NeckOptions(neck=1, init="a.bundle", data=data, frames=8, val_frames=2)
    return open_pictures(options, SPEC, Progress(disable=True))


def test_crops_lie_around_what_is_known_to_be_there():
    frames = [frame for _, frame in zip(range(10), open_source("mine:5"), strict=False)]
    with opened("mine:5") as (train, val):
        assert (len(train), len(val)) == (8, 2)
        for number, frame in enumerate(frames):
            place = Letterbox.of(frame.height, frame.width, SPEC)
            boxes = [place.to_input(box) for box in frame.truth.boxes]
            part, index = (train, number) if number < 8 else (val, number - 8)
            expected = [(b.x_min, b.y_min, b.x_max, b.y_max) for b in boxes]
            np.testing.assert_allclose(part.boxes(index), np.reshape(expected, (-1, 4)), rtol=1e-6)
        assert sum(len(train.boxes(index)) for index in range(8)) > 0


def test_of_pictures_without_labels_nothing_is_known(tmp_path):
    for number in range(10):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((20, 32, 3), number, np.uint8))
    with opened(str(tmp_path)) as (train, val):
        assert train.truths is None
        assert val.truths is None
        assert train.boxes(0).shape == (0, 4)
