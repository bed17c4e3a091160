"""Networks: crossings against true shapes, operations against a hand count, weights."""

import numpy as np
import pytest
import torch
from torch import nn

from codesign_ros.models.layers import layer_records
from codesign_ros.models.network import Network, load_weights, weights_of
from codesign_ros.models.reparam import reparameterize
from codesign_ros.models.zoo.repvgg import mine_repvgg
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import Merge, Structure
from codesign_ros.types.tensors import InputSpec

INPUT = InputSpec(height=40, width=64)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return mine_repvgg(3, INPUT).eval()


@torch.no_grad()
def test_crossings_are_the_true_shapes(network):
    x = torch.randn(1, 3, 40, 64)
    assert [(s.name, s.shape) for s in network.crossing(0)] == [("image", (1, 3, 40, 64))]
    for cut, (name, segment) in enumerate(
        zip(network.segment_names, network.segments, strict=True), start=1
    ):
        x = segment(x)
        (spec,) = network.crossing(cut)
        assert (spec.name, spec.shape, spec.dtype) == (name, tuple(x.shape), "float32")


@pytest.mark.parametrize("cut", [-1, 15 + 1])
def test_cut_out_of_range(network, cut):
    with pytest.raises(CodesignError, match=f"cut {cut} does not exist.*0 to 15"):
        network.crossing(cut)


@pytest.mark.parametrize("names", [[], ["a", "a"], ["image"]])
def test_names_are_checked(names):
    with pytest.raises(ValueError, match="segment names"):
        Network([(name, nn.ReLU()) for name in names], INPUT)


def test_segments_that_do_not_fit_are_refused():
    with pytest.raises(RuntimeError):
        Network([("a", nn.Conv2d(3, 4, 1)), ("b", nn.Conv2d(5, 4, 1))], INPUT)


def test_making_a_network_keeps_its_weights_and_mode(network):
    assert all(p.device.type == "cpu" for p in network.parameters())
    layer_records(network.train())
    assert network.training
    assert all(p.device.type == "cpu" for p in network.parameters())


def test_records_equal_a_hand_count():
    full = reparameterize(mine_repvgg(3, INPUT), Structure.S3_SS_S1, Merge.FOLD)
    records = [r for r in layer_records(full) if r.segment in ("stage2.0", "stage2.1")]
    # stage2.0 takes 16 channels at 10x16 to 32 at 5x8 (stride 2, no identity); stage2.1 keeps them.
    out = 32 * 5 * 8
    assert [(r.segment, r.kind, r.flops, r.weights) for r in records] == [
        ("stage2.0", "conv", 2 * out * 16 * 9, 32 * 16 * 9 + 32),
        ("stage2.0", "conv", 2 * out * 16, 32 * 16 + 32),
        ("stage2.0", "add", out, 0),
        ("stage2.0", "relu", out, 0),
        ("stage2.1", "conv", 2 * out * 32 * 9, 32 * 32 * 9 + 32),
        ("stage2.1", "conv", 2 * out * 32, 32 * 32 + 32),
        ("stage2.1", "add", out, 0),
        ("stage2.1", "scale", out, 32),
        ("stage2.1", "add", out, 32),
        ("stage2.1", "add", out, 0),
        ("stage2.1", "relu", out, 0),
    ]
    assert records[0].inputs == ((1, 16, 10, 16),)
    assert records[0].kernel == (3, 3)
    assert [r.input_elements for r in records[4:]] == [out, out, 2 * out, out, out, 2 * out, out]
    assert all(r.output_elements == out for r in records)


def test_records_of_grouped_convolution_pool_linear_and_batch_norm():
    network = Network(
        [
            ("conv", nn.Conv2d(3, 6, 3, padding=1, groups=3, bias=False)),
            ("norm", nn.BatchNorm2d(6)),
            ("pool", nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())),
            ("out", nn.Linear(6, 5)),
        ],
        InputSpec(4, 8),
    )
    got = [(r.segment, r.kind, r.flops, r.weights, r.groups) for r in layer_records(network)]
    assert got == [
        ("conv", "conv", 2 * 9 * 6 * 32, 54, 3),
        ("norm", "batch_norm", 2 * 6 * 32, 24, 1),
        ("pool", "pool", 6 * 32, 0, 1),
        ("out", "linear", 2 * 6 * 5, 35, 1),
    ]


def test_unknown_operation_is_an_error():
    class Odd(nn.Module):
        def forward(self, x):
            return torch.lgamma(x)

    network = Network([("odd", Odd())], INPUT)
    with pytest.raises(CodesignError, match=r"'odd' uses aten.*not in the table"):
        layer_records(network)


@torch.no_grad()
def test_weights_round_trip(network):
    other = mine_repvgg(3, INPUT).eval()
    x = torch.randn(1, 3, 40, 64)
    assert not torch.equal(other(x), network(x))
    load_weights(other, weights_of(network))
    assert torch.equal(other(x), network(x))


def test_foreign_weights_are_refused_and_change_nothing(network):
    good = weights_of(network)
    name = "segments.0.branch_3x3.conv.weight"
    for change, text in (
        ({k: v for k, v in good.items() if k != name}, f"lack '{name}'"),
        ({**good, "extra": np.zeros(1, np.float32)}, "have 'extra'"),
        ({**good, name: np.zeros((8, 3, 1, 1), np.float32)}, "is \\(8, 3, 1, 1\\)"),
        ({**good, name: good[name].astype(np.float16)}, "float16"),
    ):
        with pytest.raises(CodesignError, match=text):
            load_weights(network, change)
    assert all(np.array_equal(good[k], v) for k, v in weights_of(network).items())
