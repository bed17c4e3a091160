"""Gains that make frames take the bytes that were asked for."""

import numpy as np
import pytest
import torch

from codesign_ros.models.neck import Neck, NeckForm
from codesign_ros.training.neck.calibrate import gains_between, ideal_bytes, meet_bytes
from codesign_ros.training.neck.measure import count_tables
from codesign_ros.training.neck.rate import RatedNeck
from codesign_ros.wire.neck.payload import HEADER_BYTES, encode_codes, quantise
from codesign_ros.wire.neck.plain import STATE_BYTES


@pytest.fixture
def latents():
    rng = np.random.default_rng(1)
    return [rng.laplace(0, (1, 2, 4), (20, 30, 3)).T[None].astype(np.float32) for _ in range(8)]


def make_neck(gains):
    neck = Neck(
        [(4, 60, 40)], [(4, 60, 40)], NeckForm(channels=3, encoder_width=2, decoder_width=2)
    )
    rated = RatedNeck(neck, len(gains))
    with torch.no_grad():
        rated.gain.copy_(torch.tensor(gains)[:, None].expand(-1, 3))
    return rated


def test_frames_take_what_was_asked_for_with_the_real_coder(latents):
    rated = make_neck([0.3, 0.0, -0.3])
    before = rated.gains().detach().numpy().copy()
    taken = [ideal_bytes(np.concatenate(latents), each) for each in before]
    asked = [round(0.95 * taken[0]), round(taken[1]), round(1.08 * taken[2])]
    factors = meet_bytes(rated, latents, asked)
    assert factors[0] < 0.99
    assert factors[1] == pytest.approx(1, abs=0.005)
    assert factors[2] > 1.01
    np.testing.assert_allclose(rated.gains().detach() / before, np.outer(factors, [1] * 3), 1e-5)
    tables = count_tables(rated, latents)
    for level, wanted in enumerate(asked):
        codes = [quantise(each, tables, level) for each in latents]
        sent = np.mean([len(encode_codes(each, tables, level)) for each in codes])
        assert sent - HEADER_BYTES - STATE_BYTES == pytest.approx(wanted, rel=0.02)


def test_what_is_far_away_is_not_forced(latents):
    factors = meet_bytes(make_neck([0.0, 0.0]), latents, [10**6, 1])
    assert factors == pytest.approx([1.3, 1 / 1.3], rel=1e-3)


@pytest.mark.parametrize("there", [[-0.2, -0.5, -0.7], [-0.4]])
def test_other_levels_take_what_was_asked_for(latents, there):
    frames = np.concatenate(latents)
    gains = make_neck(there).gains().detach().numpy() * np.array([1, 2, 1], np.float32)
    taken = [ideal_bytes(frames, each) for each in gains]
    asked = [1.1 * taken[0], taken[0], (taken[0] + taken[-1]) / 2, taken[-1], 0.7 * taken[-1]]
    found = gains_between(frames, gains, asked)
    assert found.dtype == np.float32
    assert [ideal_bytes(frames, each) for each in found] == pytest.approx(asked, rel=0.01)
    # What was there already is as it was, and beyond it the channels keep their shares.
    np.testing.assert_allclose(found[[1, 3]], gains[[0, -1]], rtol=0.02)
    for new, end in ((found[0], gains[0]), (found[-1], gains[-1])):
        np.testing.assert_allclose(new / end, np.full(3, new[0] / end[0]), rtol=1e-4)
