"""The paper's Rep-X networks: sizes known from their papers, and exact folding."""

import math

import pytest
import timm
import torch

from codesign_ros.models.blocks import ParallelConv
from codesign_ros.models.graph.importing import import_network
from codesign_ros.models.layers import layer_records
from codesign_ros.models.reparam import reparameterize
from codesign_ros.models.zoo import rep
from codesign_ros.models.zoo.mobilenet_v1 import mobilenet_v1
from codesign_ros.models.zoo.shufflenet_v1 import shufflenet_v1
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import BRANCH_STRUCTURES, Merge, Structure
from codesign_ros.types.tensors import InputSpec
from support.cut_checks import difference, trained

INPUT = InputSpec(224, 224)
SMALL = InputSpec(64, 64)
# Multiply-adds [million] and weights [million] of the plain networks as their papers and
# torchvision's pages give them, and the number of convolutions that get branches, by hand.
KNOWN = {
    "Rep-ResNet-50": (4090, 25.6, 16 + 1),
    "Rep-ResNet-152": (11510, 60.2, 50 + 1),
    "Rep-MobileNetV1": (569, 4.2, 13 + 1),
    "Rep-ShuffleNetV1": (140, 1.87, 16 + 1),
    "Rep-EfficientNet": (390, 5.3, 16 + 1),
    # 1 of 7x7, 1 + 9 of 3x3, 9 of 5x5.
    "Rep-GoogLeNet": (1580, 7.0, 1 + 1 + 9 + 9),
}


@pytest.mark.parametrize("name", KNOWN)
def test_folded_is_the_published_size(name):
    network = rep.shapes_of(name, "", INPUT)
    blocks = [part for part in network.modules() if isinstance(part, ParallelConv)]
    records = layer_records(reparameterize(network, Structure.S3, Merge.FOLD))
    macs = sum(r.flops for r in records if r.kind in ("conv", "linear")) / 2e6
    weights = sum(r.weights for r in records) / 1e6
    known_macs, known_weights, known_blocks = KNOWN[name]
    assert len(blocks) == known_blocks
    assert math.isclose(macs, known_macs, rel_tol=0.03)
    assert math.isclose(weights, known_weights, rel_tol=0.02)
    assert not any(r.kind == "batch_norm" for r in records)


def test_googlenet_has_the_kernels_of_its_paper():
    network = rep.shapes_of("Rep-GoogLeNet", "", INPUT)
    sizes = [
        part.branch_3x3.conv.kernel_size[0]
        for part in network.modules()
        if isinstance(part, ParallelConv)
    ]
    assert sorted(set(sizes)) == [3, 5, 7]
    assert [sizes.count(size) for size in (3, 5, 7)] == [10, 9, 1]


def test_mobilenet_is_that_of_timm():
    own = [p.shape for p in mobilenet_v1().parameters()]
    assert own == [p.shape for p in timm.create_model("mobilenetv1_100").parameters()]


def test_shufflenet_shuffles_and_has_its_papers_channels():
    assert sum(p.numel() for p in shufflenet_v1().parameters()) == 1_865_728
    torch.manual_seed(0)
    network = shufflenet_v1(groups=3, classes=7).eval()
    unit = network[4]  # the second of the first stage: 240 channels, 60 inside
    assert unit.squeeze.conv.weight.shape == (60, 80, 1, 1)
    seen = []
    unit.depthwise.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        x = torch.randn(1, 240, 4, 4)
        unit(x)
        plain = torch.relu(unit.squeeze(x))
        assert network(torch.zeros(1, 3, 64, 64)).shape == (1, 7)
    # Channel 3 i + g of what comes out is channel i of group g.
    for group in range(3):
        assert torch.equal(seen[0][:, group::3], plain[:, 20 * group : 20 * (group + 1)])
    with pytest.raises(CodesignError, match="ShuffleNet has 1, 2, 3, 4, 8 groups, not 5"):
        shufflenet_v1(groups=5)


def test_imported_the_structures_compute_the_same():
    """Grouped, depthwise and shuffled; all kernels are in ``test_convert``."""
    torch.manual_seed(0)
    module = trained(rep.rep_shufflenet_v1(10)[:6])
    image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    network, _ = import_network(module, SMALL)
    with torch.no_grad():
        expected = {"map": module(image)}
        for structure in BRANCH_STRUCTURES:
            merged = reparameterize(network, structure, Merge.FOLD)
            assert difference({"map": merged(image)}, expected) < 1e-4
