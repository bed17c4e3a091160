"""Architectures against the numbers that their paper publishes."""

import pytest
import torch

from codesign_ros.models.layers import layer_records
from codesign_ros.models.reparam import reparameterize
from codesign_ros.models.zoo import build
from codesign_ros.models.zoo.repvgg import NAMES, repvgg
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import Merge, Structure
from codesign_ros.types.tensors import InputSpec

# Millions of parameters for 1000 classes, deployed and in training, and 1e9 multiply-adds of the
# deployed network at 224 x 224 (RepVGG, tables 4 and 5, and the authors' model list).
PUBLISHED = {
    "A0": (8.30, 9.11, 1.4),
    "A1": (12.78, 14.09, 2.4),
    "A2": (25.49, 28.21, 5.1),
    "B0": (14.33, 15.82, 3.1),
    "B1": (51.82, 57.42, 11.8),
    "B1g2": (41.36, 45.78, 8.8),
    "B1g4": (36.12, 39.97, 7.3),
    "B2": (80.31, 89.02, 18.4),
    "B2g4": (55.77, 61.76, 11.3),
    "B3": (110.96, 123.09, 26.2),
    "B3g4": (75.62, 83.83, 16.1),
}
IMAGENET = InputSpec(224, 224)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_sizes(name):
    deployed_m, trained_m, multiply_adds_g = PUBLISHED[name]
    with torch.device("meta"):
        network = repvgg(name, 1000, IMAGENET)
    millions = sum(p.numel() for p in network.parameters()) / 1e6
    assert millions == pytest.approx(trained_m, abs=0.011)
    # Per-block sizes of the deployed form: branches 1x1 and identity, and all BatchNorm, are gone
    # and each 3x3 has a bias. Counted here by hand, for the fold itself is tested elsewhere.
    convs = [m for m in network.modules() if getattr(m, "kernel_size", None) == (3, 3)]
    deployed = sum(c.weight.numel() + c.out_channels for c in convs)
    deployed += sum(p.numel() for p in network.segments[-1].parameters())
    assert deployed / 1e6 == pytest.approx(deployed_m, abs=0.011)
    side = {2: 112, 4: 56, 8: 28, 16: 14, 32: 7}
    total, stride = 0, 1
    for conv in convs:
        stride *= conv.stride[0]
        total += conv.weight.numel() * side[stride] ** 2
    assert total / 1e9 == pytest.approx(multiply_adds_g, abs=0.06)


def test_deployed_a0_has_the_published_size():
    deployed = reparameterize(repvgg("A0", 1000, IMAGENET), Structure.S3, Merge.FOLD)
    assert sum(p.numel() for p in deployed.parameters()) / 1e6 == pytest.approx(8.30, abs=0.011)
    flops = sum(r.flops for r in layer_records(deployed) if r.kind in ("conv", "linear"))
    assert flops / 2e9 == pytest.approx(1.4, abs=0.05)


def test_depths_and_names():
    network = repvgg("A1", 10, InputSpec(32, 32))
    assert len(network.segment_names) == 22 + 2
    assert network.segment_names[:4] == ("stage0", "stage1.0", "stage1.1", "stage2.0")
    assert network.segment_names[-3:] == ("stage4.0", "pool", "logits")
    assert len(NAMES) == 13


def test_mine_network():
    network = build("mine_repvgg", {"classes": 3}, InputSpec(400, 640))
    folded = reparameterize(network, Structure.S3, Merge.FOLD)
    records = layer_records(folded)
    total = sum(r.flops for r in records if r.kind == "conv") / 2
    neck = network.segment_names.index("stage3.0") + 1
    before = sum(
        r.flops for r in records if r.kind == "conv" and r.segment in network.segment_names[:neck]
    )
    assert 0.6e9 < total < 0.9e9
    assert before / 2 < total / 6
    # The neck's map has a twentieth of the frame's elements or less: 640 * 400 * 3 / 24000 = 32.
    (spec,) = network.crossing(neck)
    assert spec.shape == (1, 24, 25, 40)
    assert network.crossing(len(network.segment_names))[0].shape == (1, 3)


def test_build_by_name():
    network = build("repvgg", {"name": "B0", "classes": 4}, InputSpec(32, 32))
    assert network.crossing(len(network.segment_names))[0].shape == (1, 4)


@pytest.mark.parametrize(
    ("architecture", "args", "text"),
    [
        ("lenet", {}, "unknown architecture 'lenet'; known are graph, mine_repvgg, repvgg"),
        ("mine_repvgg", {}, "missing a required argument: 'classes'"),
        ("mine_repvgg", {"classes": 3, "depth": 2}, "unexpected keyword argument 'depth'"),
        ("repvgg", {"name": "C1", "classes": 3}, "unknown RepVGG 'C1'"),
    ],
)
def test_build_mistakes_are_one_line(architecture, args, text):
    with pytest.raises(CodesignError, match=text) as error:
        build(architecture, args, InputSpec(32, 32))
    assert "\n" not in str(error.value)
