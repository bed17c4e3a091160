"""Lost quality: each kind changes a picture in its own way, and a seed repeats it."""

from dataclasses import fields, replace

import numpy as np
import pytest

from codesign_ros.training.detector.degrade import Degradation, degrade

NONE = Degradation(**{f.name: 0.0 for f in fields(Degradation) if isinstance(f.default, float)})


@pytest.fixture(scope="module")
def picture():
    """A yellow square on a picture of four greys."""
    image = np.full((80, 120, 3), 60, np.uint8)
    image[40:] = 140
    image[20:60, 30:70] = (220, 180, 30)
    return image


def spoiled(picture, seed=3, **shares):
    return degrade(picture, np.random.default_rng(seed), replace(NONE, **shares))


def test_nothing_changes_where_nothing_is_asked_for(picture):
    assert np.array_equal(spoiled(picture), picture)


@pytest.mark.parametrize(
    "kind", ["blur", "smear", "coarse", "noise", "shade", "cast", "grey", "jpeg"]
)
def test_each_kind_changes_the_picture_but_not_its_size(picture, kind):
    changed = spoiled(picture, **{kind: 1.0})
    assert changed.shape == picture.shape
    assert changed.dtype == np.uint8
    assert not np.array_equal(changed, picture)
    assert np.array_equal(changed, spoiled(picture, **{kind: 1.0}))


def test_colour_is_lost_and_sharpness_too(picture):
    grey = spoiled(picture, grey=1.0)
    assert (grey.max(2) == grey.min(2)).all()

    def edge(image):
        return np.abs(np.diff(image.astype(int), axis=1)).max()

    for kind in ("blur", "coarse"):
        assert edge(spoiled(picture, **{kind: 1.0})) < 0.8 * edge(picture)


def test_a_jpeg_keeps_the_colours_in_their_channels(picture):
    coded = spoiled(picture, jpeg=1.0, jpeg_quality=(90, 90))
    assert np.abs(coded[40, 50].astype(int) - picture[40, 50]).max() < 12
