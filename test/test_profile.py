"""Profiles against hand counts."""

import math

import pytest
import torch

from codesign_ros.cost.profile import profile_network
from codesign_ros.models.zoo.repvgg import mine_repvgg, repvgg
from codesign_ros.types import CodesignError, InputSpec, Structure, TensorSpec

S3, FULL = Structure.S3, Structure.S3_SS_S1


@pytest.fixture(scope="module")
def profile():
    return profile_network(mine_repvgg(3, InputSpec(height=40, width=64)))


def test_one_segment_by_hand(profile):
    # stage2.1: 32 channels at 5x8 stay 32 channels at 5x8.
    cut = profile.segment_names.index("stage2.1")
    a = 32 * 5 * 8
    conv = 2 * a * 32 * 9
    assert profile.flops(cut, cut + 1, S3) == conv + a
    assert profile.bytes(cut, cut + 1, S3) == 4 * ((32 * 32 * 9 + 32 + 2 * a) + 2 * a)
    # With both branches: 1x1 convolution, sum; scale, bias, sum; ReLU.
    assert profile.flops(cut, cut + 1, FULL) == conv + 2 * a * 32 + a + 3 * a + a
    weights = (32 * 32 * 9 + 32) + (32 * 32 + 32) + 32 + 32
    moved = 2 * a + 2 * a + 3 * a + (2 * a + 2 * a + 3 * a) + 2 * a
    assert profile.bytes(cut, cut + 1, FULL) == 4 * (weights + moved)


def test_branches_cost_what_they_cost(profile):
    n = profile.segments
    whole = [profile.flops(0, n, s) for s in Structure]
    traffic = [profile.bytes(0, n, s) for s in Structure]
    assert whole == sorted(whole)
    assert traffic[0] == min(traffic)
    assert traffic[-1] == max(traffic)


@pytest.mark.parametrize("structure", Structure)
def test_parts_add_up(profile, structure):
    n = profile.segments
    for cut in range(n + 1):
        parts = profile.flops(0, cut, structure) + profile.flops(cut, n, structure)
        assert parts == profile.flops(0, n, structure)
        assert profile.load_fraction(cut, structure) == pytest.approx(
            profile.flops(0, cut, structure) / profile.flops(0, n, structure)
        )
    assert profile.load_fraction(0, structure) == 0.0
    assert profile.load_fraction(n, structure) == 1.0


def test_crossings(profile):
    assert profile.crossings[0] == (TensorSpec("image", (40, 64, 3), "uint8"),)
    elements = [sum(spec.elements for spec in specs) for specs in profile.crossings]
    assert (elements[0], elements[1], elements[-1]) == (40 * 64 * 3, 8 * 20 * 32, 3)


@pytest.mark.parametrize(("first", "last"), [(-1, 3), (3, 2), (0, 16)])
def test_cuts_are_checked(profile, first, last):
    with pytest.raises(CodesignError, match="cuts are 0 to 15"):
        profile.flops(first, last, S3)


def test_published_operations_without_weights():
    with torch.device("meta"):
        network = repvgg("A0", 1000, InputSpec(224, 224))
    profile = profile_network(network)
    n = profile.segments
    # 1.4e9 multiply-adds deployed; the 1x1 branches add a ninth of the convolutions.
    assert math.isclose(profile.flops(0, n, S3) / 2e9, 1.36, rel_tol=0.02)
    assert math.isclose(profile.flops(0, n, FULL) / 2e9, 1.36 * 10 / 9, rel_tol=0.02)
