"""BatchNorm statistics without some branches, against numpy."""

import numpy as np
import pytest
import torch
from torch import nn

from codesign_ros.models.batchnorm import reestimated
from codesign_ros.models.blocks import RepVGGBlock
from codesign_ros.models.network import Network, weights_of
from codesign_ros.models.reparam import reparameterize
from codesign_ros.pixels.letterbox import normalise
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import BRANCH_STRUCTURES, Merge, Structure
from codesign_ros.types.tensors import InputSpec
from support.tiny import TINY_INPUT, tiny_frames, tiny_network

SPEC = InputSpec(12, 10)


def blocks(seed=0):
    """Two blocks, the second one with an identity branch, with statistics that fit nothing."""
    torch.manual_seed(seed)
    network = Network([("first", RepVGGBlock(3, 6)), ("second", RepVGGBlock(6, 6))], SPEC)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
            module.running_mean.uniform_(-3, 3)
            module.running_var.uniform_(2, 5)
    return network.eval()


def frames(count, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(0.3, 2, (1, 3, SPEC.height, SPEC.width)).astype(np.float32)
            for _ in range(count)]  # fmt: skip


def batch_norm(x, module):
    """Return the result, mean and variance (unbiased) over batch and pixels."""
    mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3))
    weight, bias = (p.detach().numpy() for p in (module.weight, module.bias))
    normal = (x - mean[:, None, None]) / np.sqrt(variance + module.eps)[:, None, None]
    count = x.size // x.shape[1]
    result = normal * weight[:, None, None] + bias[:, None, None]
    return result, mean, variance * count / (count - 1)


def convolve(x, branch):
    with torch.no_grad():
        return branch.conv(torch.from_numpy(x.astype(np.float32))).numpy().astype(np.float64)


@pytest.mark.parametrize("structure", BRANCH_STRUCTURES)
def test_statistics_by_hand(structure):
    network, images = blocks(), frames(5)
    again = reestimated(network, structure, images)
    x = np.concatenate(images).astype(np.float64)
    for old, new in zip(network.segments, again.segments, strict=True):
        branches = [(old.branch_3x3.bn, new.branch_3x3.bn, convolve(x, old.branch_3x3))]
        if structure.keeps_1x1:
            branches.append((old.branch_1x1.bn, new.branch_1x1.bn, convolve(x, old.branch_1x1)))
        if structure.keeps_identity and old.branch_identity is not None:
            branches.append((old.branch_identity, new.branch_identity, x))
        total = 0
        for before, after, made in branches:
            result, mean, variance = batch_norm(made, before)
            np.testing.assert_allclose(after.running_mean, mean, rtol=1e-3, atol=1e-4)
            np.testing.assert_allclose(after.running_var, variance, rtol=1e-3)
            assert after.momentum == before.momentum
            total = total + result
        x = np.maximum(total, 0)


def test_groups_are_averaged():
    network, images = blocks(), frames(20)
    again = reestimated(network, Structure.S3, images)
    groups = [convolve(np.concatenate(some), network.segments[0].branch_3x3)
              for some in (images[:10], images[10:])]  # fmt: skip
    expected = np.mean([group.var((0, 2, 3), ddof=1) for group in groups], axis=0)
    np.testing.assert_allclose(again.segments[0].branch_3x3.bn.running_var, expected, rtol=1e-3)


def test_the_network_is_left_as_it_is_and_the_result_is_the_same_each_time():
    network = tiny_network()
    images = [normalise(frame, TINY_INPUT) for frame in tiny_frames(3)]
    before = weights_of(network)
    first = reestimated(network, Structure.S3, images)
    second = reestimated(network, Structure.S3, images)
    assert not any(module.training for module in first.modules())
    for name, array in before.items():
        np.testing.assert_array_equal(array, weights_of(network)[name])
    for name, array in weights_of(first).items():
        np.testing.assert_array_equal(array, weights_of(second)[name])
    # No hook is left that silences branches.
    x = torch.from_numpy(images[0])
    with torch.no_grad():
        assert not torch.equal(first(x), reparameterize(first, Structure.S3, Merge.PRUNE)(x))


def test_pruned_with_new_statistics_is_what_batch_normalisation_makes():
    """Over the frames themselves, mean and variance in front of each ReLU are BatchNorm's own."""
    network, images = blocks(), frames(8)
    pruned = reparameterize(reestimated(network, Structure.S3, images), Structure.S3, Merge.PRUNE)
    first = pruned.segments[0]
    with torch.no_grad():
        made = first.conv_3x3(torch.from_numpy(np.concatenate(images))).numpy()
    bn = network.segments[0].branch_3x3.bn
    np.testing.assert_allclose(made.mean((0, 2, 3)), bn.bias.detach(), atol=1e-3)
    np.testing.assert_allclose(made.std((0, 2, 3)), bn.weight.detach(), rtol=1e-2)


def test_too_few_numbers_is_one_line():
    network = Network([("first", RepVGGBlock(3, 6))], InputSpec(1, 1)).eval()
    with pytest.raises(CodesignError, match="more than 1 calibration frames") as error:
        reestimated(network, Structure.S3, [np.zeros((1, 3, 1, 1), np.float32)])
    assert "\n" not in str(error.value)
