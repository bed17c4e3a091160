"""Head and tail together are the whole network, at every cut."""

import itertools

import pytest
import torch
from torch import nn

from codesign_ros.models.halves import split
from codesign_ros.models.reparam import reparameterize
from codesign_ros.models.zoo import build
from codesign_ros.models.zoo.repvgg import mine_repvgg
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import BRANCH_STRUCTURES, Merge, Structure
from codesign_ros.types.tensors import InputSpec
from support.cut_checks import check_every_cut, trained

SEGMENTS = 15


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    model = mine_repvgg(3, InputSpec(height=52, width=64))
    # Two passes in training mode give BatchNorm statistics that are not the initial ones.
    with torch.no_grad():
        for _ in range(2):
            model(torch.rand(2, 3, 52, 64))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.2, 0.2)
    return model.eval()


@torch.no_grad()
def test_every_cut_and_every_pair_of_structures(network):
    image = torch.rand(1, 3, 52, 64)
    whole = network(image)
    assert len(network.segment_names) == SEGMENTS
    shapes = {s: reparameterize(network, s, Merge.FOLD) for s in BRANCH_STRUCTURES}
    for cut in range(SEGMENTS + 1):
        crossings = {s: split(shapes[s], cut)[0]({"image": image}) for s in BRANCH_STRUCTURES}
        for head, tail in itertools.product(BRANCH_STRUCTURES, repeat=2):
            (result,) = split(shapes[tail], cut)[1](crossings[head]).values()
            torch.testing.assert_close(result, whole, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_prune_differs(network):
    image = torch.rand(1, 3, 52, 64)
    pruned = reparameterize(network, Structure.S3, Merge.PRUNE)
    head, tail = split(pruned, 7)
    (result,) = tail(head({"image": image})).values()
    torch.testing.assert_close(result, pruned(image))
    assert (result - network(image)).abs().max() > 1e-2


@torch.no_grad()
def test_names_and_shapes_at_the_cut(network):
    image = torch.rand(1, 3, 52, 64)
    for cut in range(SEGMENTS + 1):
        head, tail = split(network, cut)
        assert head.outputs == tail.inputs == network.crossing(cut)
        assert [s.name for s in head.inputs] == ["image"]
        assert [s.name for s in tail.outputs] == ["logits"]
        made = head({"image": image})
        assert {k: tuple(v.shape) for k, v in made.items()} == {
            s.name: s.shape for s in head.outputs
        }


def test_empty_halves_hand_on(network):
    image = torch.rand(1, 3, 52, 64)
    assert split(network, 0)[0]({"image": image})["image"] is image
    logits = torch.rand(1, 3)
    assert split(network, SEGMENTS)[1]({"logits": logits})["logits"] is logits


def test_halves_share_weights_and_mode(network):
    head, tail = split(network, 3)
    own = {id(p) for p in network.parameters()}
    assert {id(p) for p in (*head.parameters(), *tail.parameters())} == own
    assert not head.training


def test_wrong_names_and_cuts(network):
    head, _ = split(network, 2)
    with pytest.raises(ValueError, match=r"takes \['image'\]"):
        head({"stage0": torch.zeros(1)})
    with pytest.raises(CodesignError, match="cut 16 does not exist"):
        split(network, 16)


@pytest.mark.parametrize("structure", [None, Structure.S3, Structure.S3_SS_S1])
def test_the_detector_at_every_cut(structure):
    torch.manual_seed(0)
    detector = build("yolo", {"classes": 3, "reg_max": 12}, InputSpec(64, 64))
    detector = trained(detector)
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = {"boxes": detector(image)}
    if structure is not None:
        detector = reparameterize(detector, structure, Merge.FOLD)
    assert len(detector.segment_names) == 26
    assert check_every_cut(detector, image, expected) == 3


def test_what_the_detectors_neck_needs_crosses():
    detector = build("yolo", {"classes": 3}, InputSpec(64, 96))

    def crossing(name):
        cut = detector.segment_names.index(name) + 1
        return [spec.name for spec in detector.crossing(cut)]

    # P3 is there from the end of stage 4, P4 from the end of stage 6.
    assert crossing("rep4.4") == ["rep4.4"]
    assert crossing("rep4.5") == ["rep4.5"]
    assert crossing("conv5") == ["rep4.5", "conv5"]
    assert crossing("rep6.5") == ["rep4.5", "rep6.5"]
    assert crossing("conv7") == ["rep4.5", "rep6.5", "conv7"]
    assert crossing("sppf9") == ["rep4.5", "rep6.5", "sppf9"]
    assert crossing("detect") == ["detect"]
