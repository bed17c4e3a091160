"""Profiles against hand counts."""

import math

import pytest
import torch
import torchvision

from codesign_ros.cost.profile import profile_network
from codesign_ros.models.graph.importing import import_network
from codesign_ros.models.zoo import build
from codesign_ros.models.zoo.repvgg import mine_repvgg, repvgg
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import BRANCH_STRUCTURES, Structure
from codesign_ros.types.tensors import InputSpec, TensorSpec

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
    whole = [profile.flops(0, n, s) for s in BRANCH_STRUCTURES]
    traffic = [profile.bytes(0, n, s) for s in BRANCH_STRUCTURES]
    assert whole == sorted(whole)
    assert traffic[0] == min(traffic)
    assert traffic[-1] == max(traffic)


def test_memory_of_a_segment_by_hand(profile):
    # stage2.1 again: the ReLU's result is there beside the convolution's; with the branches what
    # enters, both convolutions' results and their sum.
    cut = profile.segment_names.index("stage2.1")
    a = 32 * 5 * 8
    weights = 32 * 32 * 9 + 32
    assert profile.memory_bytes(cut, cut + 1, S3, "fp32") == 4 * (weights + 2 * a)
    # The scale and bias of the identity's BatchNorm come on top of the 1x1 convolution's.
    weights += 32 * 32 + 32 + 2 * 32
    assert profile.memory_bytes(cut, cut + 1, FULL, "fp32") == 4 * (weights + 4 * a)
    assert profile.memory_bytes(cut, cut + 1, FULL, "fp16") == 2 * (weights + 4 * a)
    assert profile.memory_bytes(cut, cut + 1, FULL, "int8-channel") == weights + 4 * a


@pytest.mark.parametrize("structure", BRANCH_STRUCTURES)
def test_memory_of_the_halves(profile, structure):
    n = profile.segments
    assert profile.head_memory_bytes(0, structure, "fp32") == 0
    assert profile.tail_memory_bytes(n, structure, "fp32") == 0
    weights, peaks = profile.segment_weights[structure], profile.segment_activations[structure]
    for cut in range(1, n):
        head = sum(weights[:cut]) + max(peaks[:cut])
        tail = sum(weights[cut:]) + max(peaks[cut:])
        assert profile.head_memory_bytes(cut, structure, "fp32") == head
        assert profile.tail_memory_bytes(cut, structure, "int8-tensor") == tail / 4
        # A half needs no more than the whole.
        assert max(head, tail) <= profile.memory_bytes(0, n, structure, "fp32")


@pytest.mark.parametrize("structure", BRANCH_STRUCTURES)
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


# 1e9 multiply-adds at 224 x 224 as torchvision's documentation has them, of convolutions and
# matrix products; activations, poolings and sums come on top here.
PUBLISHED = {
    "resnet18": 1.81,
    "mobilenet_v3_small": 0.06,
    "vit_b_32": 4.41,
}


@pytest.mark.parametrize(
    "name",
    ["resnet18", "vit_b_32", pytest.param("mobilenet_v3_small", marks=pytest.mark.test_all)],
)
def test_published_operations_of_imported_networks(name):
    module = torchvision.models.get_model(name, weights=None)
    profile = profile_network(import_network(module, InputSpec(224, 224)).network)
    total = profile.flops(0, profile.segments, S3) / 2e9
    assert math.isclose(total, PUBLISHED[name], rel_tol=0.06)


def test_the_detector_by_hand():
    profile = profile_network(build("yolo", {"classes": 3}, InputSpec(64, 96)))
    names = profile.segment_names
    conv0, boxes = names.index("conv0"), names.index("boxes")
    out = 16 * 32 * 48
    assert profile.flops(conv0, conv0 + 1, S3) == 2 * out * 3 * 9 + out
    # 8x12, 4x6 and 2x3 anchors; of each, four sides of 16 bins: softmax (3), times the bin (1),
    # sum (1); then four distances times stride (1), four corners (1), three sigmoids (1).
    anchors = 96 + 24 + 6
    assert profile.flops(boxes, boxes + 1, S3) == anchors * (64 * 5 + 4 + 4 + 3)
