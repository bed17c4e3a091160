"""The block against sums written out with numpy."""

import numpy as np
import pytest
import torch

from codesign_ros.models.blocks import ChannelScale, RepVGGBlock


@pytest.mark.parametrize(
    ("channels", "stride", "has_identity"),
    [((8, 8), 1, True), ((8, 8), 2, False), ((4, 8), 1, False)],
)
def test_identity_branch_exists_where_shapes_allow(channels, stride, has_identity):
    block = RepVGGBlock(*channels, stride=stride)
    assert (block.branch_identity is not None) == has_identity


@pytest.mark.parametrize(("stride", "size"), [(1, (5, 7)), (2, (3, 4))])
def test_output_shape_rounds_up(stride, size):
    assert RepVGGBlock(4, 6, stride=stride)(torch.zeros(2, 4, 5, 7)).shape == (2, 6, *size)


def test_block_is_relu_of_the_sum_of_its_branches():
    torch.manual_seed(0)
    block = RepVGGBlock(2, 2).eval()
    x = torch.randn(1, 2, 3, 3)
    with torch.no_grad():
        got = block(x)[0, :, 1, 1].numpy()
    # At the centre of a 3x3 map the 3x3 branch sees the whole map. Fresh BatchNorm only divides by
    # sqrt(1 + eps).
    kernel_3x3 = block.branch_3x3.conv.weight.detach().numpy()
    kernel_1x1 = block.branch_1x1.conv.weight.detach().numpy()[:, :, 0, 0]
    image = x[0].numpy()
    centre = image[:, 1, 1]
    total = np.einsum("oikl,ikl->o", kernel_3x3, image) + kernel_1x1 @ centre + centre
    np.testing.assert_allclose(got, np.maximum(total / np.sqrt(1 + 1e-5), 0), atol=1e-6)


def test_channel_scale():
    scale = ChannelScale(torch.tensor([2.0, -1.0]), torch.tensor([0.5, 0.0]))
    x = torch.ones(1, 2, 1, 3)
    with torch.no_grad():
        np.testing.assert_array_equal(scale(x)[0, :, 0, 0], [2.5, -1.0])
