"""Head and tail together are the whole network, at every cut."""

import itertools

import pytest
import torch
from torch import nn

from codesign_ros.models.reparam import reparameterize
from codesign_ros.models.split import split
from codesign_ros.models.zoo.repvgg import mine_repvgg
from codesign_ros.types import CodesignError, InputSpec, Merge, Structure

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
    shapes = {s: reparameterize(network, s, Merge.FOLD) for s in Structure}
    for cut in range(SEGMENTS + 1):
        crossings = {s: split(shapes[s], cut)[0]({"image": image}) for s in Structure}
        for head, tail in itertools.product(Structure, repeat=2):
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
