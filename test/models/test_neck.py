import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from codesign_ros.models.halves import split
from codesign_ros.models.neck import Neck, NeckForm, crossing_maps, form_of, least_patch, with_neck
from codesign_ros.models.network import Network, Segment
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.tensors import InputSpec
from support.tiny import TINY_INPUT, tiny_network

SMALL = {"channels": 6, "encoder_width": 5, "decoder_width": 7}


def randomised(neck, seed=0):
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in neck.parameters():
            parameter.normal_(0, 0.2)
    return neck.eval()


@pytest.mark.parametrize("rows_columns", [(50, 80), (25, 40), (13, 20), (7, 7), (1, 9)])
@pytest.mark.parametrize("factor", [1, 2, 4])
@pytest.mark.parametrize("patch", [1, 2])
def test_shapes(rows_columns, factor, patch):
    target = (8, *(math.ceil(side / factor) for side in rows_columns))
    neck = Neck([(4, *rows_columns)], [target], NeckForm(patch=patch, **SMALL))
    latent = neck.encoder(torch.zeros(2, 4, *rows_columns))
    assert latent.shape == (2, *neck.latent)
    assert neck.latent == (6, *(math.ceil(side / patch) for side in target[1:]))
    assert neck.decoder(latent).shape == (2, *target)


def test_a_map_that_does_not_halve_is_refused():
    with pytest.raises(CodesignError, match="a neck halves maps: 50x80 does not become 17x27"):
        Neck([(4, 50, 80)], [(4, 17, 27)], NeckForm(patch=1))
    with pytest.raises(CodesignError, match="a neck halves maps: 50x80 does not become 17x27"):
        Neck([(4, 50, 80)], [(4, 50, 80), (4, 17, 27)], NeckForm(patch=1))


def test_new_parts_beside_the_linear_ones_start_at_zero():
    form = NeckForm(positive=False, encoder_depth=2, **SMALL)
    neck = Neck([(4, 16, 24)], [(8, 8, 12)], form).eval()
    x = torch.randn(1, 4, 16, 24)
    with torch.no_grad():
        latent = neck.encoder(x)
        linear = neck.encoder.linear
        alone = F.conv2d(x, linear.weight, linear.bias, linear.stride, linear.padding)
        torch.testing.assert_close(latent, alone)
        out = neck.decoder.expand.linear
        # By hand: four numbers of a place are the four pixels of a 2 x 2 patch.
        mixed = torch.einsum("oc,bchw->bohw", out.weight[:, :, 0, 0], latent)
        mixed = mixed + out.bias[:, None, None]
        by_hand = mixed.reshape(1, 8, 2, 2, 4, 6).permute(0, 1, 4, 2, 5, 3).reshape(1, 8, 8, 12)
        torch.testing.assert_close(neck.decoder(latent), by_hand)


@pytest.mark.parametrize(("cut", "enter"), [(3, 3), (2, 5), (5, 5)])
def test_head_and_tail_are_the_network_with_the_map_replaced(cut, enter):
    network = tiny_network()
    specs = [network.crossing(each)[0] for each in (cut, enter)]
    neck = randomised(Neck(*([spec.shape[1:]] for spec in specs), NeckForm(**SMALL)))
    whole = with_neck(network, cut, enter, neck)
    image = torch.rand(1, 3, TINY_INPUT.height, TINY_INPUT.width)
    with torch.no_grad():
        made = network.run({"image": image}, 0, cut, [specs[0].name])
        decoded = neck.decoder(neck.encoder(made[specs[0].name]))
        last = len(network.segment_names)
        expected = network.run({specs[1].name: decoded}, enter, last, network.output_names)
        head, tail = split(whole, cut + 1)
        crossing = head({"image": image})
        assert [(spec.name, spec.shape) for spec in head.outputs] == [("neck", (1, *neck.latent))]
        assert tail.inputs == head.outputs
        found = tail(crossing)
    np.testing.assert_array_equal(found[network.output_names[0]], expected[network.output_names[0]])


@pytest.mark.parametrize("rows_columns", [(48, 80), (50, 80), (13, 20)])
@pytest.mark.parametrize("patch", [1, 2])
def test_shapes_of_several_maps(rows_columns, patch):
    shapes = [
        (channels, *(math.ceil(side / factor) for side in rows_columns))
        for channels, factor in ((4, 1), (6, 2), (8, 4))
    ]
    neck = Neck(shapes[:1], shapes, NeckForm(patch=patch, **SMALL))
    assert neck.latent == (6, *(math.ceil(side / 4 / patch) for side in rows_columns))
    latent = neck.encoder(torch.zeros(2, *shapes[0]))
    assert latent.shape == (2, *neck.latent)
    assert [tuple(each.shape) for each in neck.decode(latent)] == [(2, *each) for each in shapes]
    neck = Neck(shapes, shapes[::-1], NeckForm(patch=patch, **SMALL))
    latent = neck.encoder(*(torch.zeros(1, *shape) for shape in shapes))
    assert latent.shape == (1, *neck.latent)
    assert [tuple(each.shape[1:]) for each in neck.decode(latent)] == shapes[::-1]


def test_a_target_that_is_larger_than_a_source():
    sources, targets = [(4, 8, 12)], [(3, 16, 24), (5, 32, 48)]
    assert least_patch(sources, targets) == 2
    assert least_patch(targets, targets[:1]) == least_patch(targets, targets) == 1
    neck = Neck(sources, targets, NeckForm(patch=2, **SMALL))
    latent = neck.encoder(torch.zeros(1, 4, 8, 12))
    assert latent.shape == (1, 6, 8, 12)
    assert [tuple(each.shape[1:]) for each in neck.decode(latent)] == targets
    with pytest.raises(CodesignError, match="a neck halves maps: 16x24 does not become 5x12"):
        least_patch([(4, 5, 12)], targets)


def test_several_maps_make_one_latent_and_it_makes_them_all():
    """By hand: the convolutions' sum, and each map's patches from one place of the latent."""
    shapes = [(3, 8, 12), (5, 4, 6)]
    form = NeckForm(positive=False, patch=1, output_depth=0, **SMALL)
    neck = randomised(Neck(shapes, shapes, form))
    maps = [torch.randn(1, *shape) for shape in shapes]
    with torch.no_grad():
        for part in (*neck.encoders, *(decoder.expand for decoder in neck.decoders)):
            for parameter in part.other[-1].parameters():
                parameter.zero_()
        linear = [encoder.linear for encoder in neck.encoders]
        latent = F.conv2d(maps[0], linear[0].weight, linear[0].bias, 2, 1)
        latent = latent + F.conv2d(maps[1], linear[1].weight, linear[1].bias, 1, 1)
        torch.testing.assert_close(neck.encoder(*maps), latent)
        fine, coarse = (decoder.expand.linear for decoder in neck.decoders)
        mixed = torch.einsum("oc,bchw->bohw", fine.weight[:, :, 0, 0], latent)
        mixed = (mixed + fine.bias[:, None, None]).reshape(3, 2, 2, 4, 6)
        by_hand = mixed.permute(0, 3, 1, 4, 2).reshape(1, 3, 8, 12)
        found = neck.decode(latent)
        torch.testing.assert_close(found[0], by_hand)
        torch.testing.assert_close(found[1], F.conv2d(latent, coarse.weight, coarse.bias))


def _joined():
    class Sum(torch.nn.Module):
        def forward(self, a, b):
            return a + b

    conv = torch.nn.Conv2d(3, 3, 1)
    parts = [Segment("a", conv), Segment("neck", conv), Segment("c", Sum(), ("a", "neck"))]
    return Network(parts, InputSpec(8, 8))


def test_what_takes_no_neck_is_refused():
    neck = Neck([(3, 8, 8)], [(3, 8, 8)], NeckForm(**SMALL))
    with pytest.raises(CodesignError, match="has a segment named 'neck': it can get no neck"):
        with_neck(_joined(), 1, 1, neck)
    with pytest.raises(CodesignError, match="at cut 0 it is image"):
        crossing_maps(_joined(), 0)
    with pytest.raises(CodesignError, match=r"at cut \d+ it is logits \(1, 3\)$"):
        crossing_maps(tiny_network(), len(tiny_network().segment_names))
    with pytest.raises(CodesignError, match="no answer of the network crosses; 'c' crosses cut 3"):
        crossing_maps(_joined(), 3)


@pytest.mark.parametrize(
    "args",
    [{"channels": 0}, {"depth": 1}, {"patch": "2"}, {"positive": 1}, {"encoder_width": 10**6}],
)
def test_sizes_that_make_no_sense_are_refused(args):
    with pytest.raises(CodesignError, match="neck"):
        form_of(args)


def test_sizes_come_back():
    assert form_of(vars(NeckForm(**SMALL))) == NeckForm(**SMALL)
