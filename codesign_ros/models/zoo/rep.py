"""The re-parameterised networks of the paper's Table II, "Rep-X".

Each function makes a module with random weights, so that for example ``codesign import
codesign_ros.models.zoo.rep:rep_googlenet`` makes a bundle. Where torchvision has the network, its
layers are torchvision's; MobileNetV1 and ShuffleNetV1 are written from their papers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import nn
from torchvision import models

from codesign_ros.models.convert import convert
from codesign_ros.models.network import Network
from codesign_ros.models.zoo.mobilenet_v1 import mobilenet_v1
from codesign_ros.models.zoo.repvgg import NAMES, repvgg
from codesign_ros.models.zoo.shufflenet_v1 import shufflenet_v1
from codesign_ros.types.tensors import InputSpec

_GOOGLENET_BLOCKS = ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")


def googlenet(classes: int = 1000) -> nn.Module:
    """Make GoogLeNet with 7x7, 5x5 and 3x3 convolutions, with BatchNorm and without side outputs.

    Szegedy et al., "Going Deeper with Convolutions" (CVPR 2015). torchvision has a 3x3 convolution
    where the paper has a 5x5; it is put back here, so torchvision's weights do not fit.
    """
    network = models.GoogLeNet(num_classes=classes, aux_logits=False, init_weights=False)
    for name in _GOOGLENET_BLOCKS:
        block = network.get_submodule(f"inception{name}.branch3.1")
        old = block.get_submodule("conv")
        assert isinstance(old, nn.Conv2d)
        block.conv = nn.Conv2d(old.in_channels, old.out_channels, 5, padding=2, bias=False)
    return network


def rep_resnet50(classes: int = 1000) -> nn.Module:
    """Make Rep-ResNet-50."""
    return convert(models.resnet50(num_classes=classes))


def rep_resnet101(classes: int = 1000) -> nn.Module:
    """Make Rep-ResNet-101."""
    return convert(models.resnet101(num_classes=classes))


def rep_resnet152(classes: int = 1000) -> nn.Module:
    """Make Rep-ResNet-152."""
    return convert(models.resnet152(num_classes=classes))


def rep_mobilenet_v1(classes: int = 1000) -> nn.Module:
    """Make Rep-MobileNetV1, of width 1."""
    return convert(mobilenet_v1(classes))


def rep_shufflenet_v1(classes: int = 1000) -> nn.Module:
    """Make Rep-ShuffleNetV1, 1x with 3 groups."""
    return convert(shufflenet_v1(classes=classes))


def rep_efficientnet(classes: int = 1000) -> nn.Module:
    """Make Rep-EfficientNet-B0; its 3x3 and 5x5 kernels are depthwise."""
    return convert(models.efficientnet_b0(num_classes=classes))


def rep_googlenet(classes: int = 1000) -> nn.Module:
    """Make Rep-GoogLeNet: 7x7, 5x5 and 3x3 convolutions, each with branches of its own kernel."""
    return convert(googlenet(classes))


_MAKERS: Mapping[str, Callable[[int], nn.Module]] = {
    "Rep-ResNet-50": rep_resnet50,
    "Rep-ResNet-101": rep_resnet101,
    "Rep-ResNet-152": rep_resnet152,
    "Rep-MobileNetV1": rep_mobilenet_v1,
    "Rep-ShuffleNetV1": rep_shufflenet_v1,
    "Rep-EfficientNet": rep_efficientnet,
    "Rep-GoogLeNet": rep_googlenet,
}
_REPVGG = "RepVGG"

VARIANTS: Mapping[str, Sequence[str]] = {_REPVGG: NAMES, **dict.fromkeys(_MAKERS, ("",))}
"""The networks of Table II by the paper's names, and which of each there are: the paper does not
say which RepVGG it has, so all that are published are here."""


def shapes_of(name: str, variant: str, input: InputSpec, classes: int = 1000) -> Network:
    """Make a network of Table II without numbers.

    It lies on the ``meta`` device: its operations can be counted, and nothing can be computed.

    Args:
        name: a key of ``VARIANTS``.
        variant: one of those there.
        input: of any size.
        classes: number of logits.
    """
    with torch.device("meta"):
        if name == _REPVGG:
            return repvgg(variant, classes, input)
        return Network([("network", _MAKERS[name](classes))], input)
