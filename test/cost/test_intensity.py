"""Operations and bytes of a network of two layers, counted by hand under every accounting."""

import math

import pytest
from torch import nn

from codesign_ros.cost.intensity import (
    ACCOUNTINGS,
    Forms,
    Pair,
    distance,
    forms_of,
    intensities,
    memory_bytes,
    operations,
    what_counts,
)
from codesign_ros.models.blocks import RepVGGBlock
from codesign_ros.models.network import Network
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.tensors import InputSpec

# One RepVGG block of 3 channels at 4 x 4 pixels, and a linear layer from its 48 values to 2.
MAP = 3 * 4 * 4
# Original: 3x3 and 1x1 without bias, three BatchNorms of weight, bias, mean and variance.
WEIGHTS = Pair(3 * 3 * 9 + 3 * 3 + 3 * 4 * 3 + MAP * 2 + 2, 3 * 3 * 9 + 3 + MAP * 2 + 2)
CONV_3X3, CONV_1X1, LINEAR = 16 * 3 * 3 * 9, 16 * 3 * 3, MAP * 2
OPERATIONS = {
    # 2 additions of branches, 3 BatchNorms of 2 operations an element, ReLU.
    "flops": Pair(
        2 * (CONV_3X3 + CONV_1X1 + LINEAR) + MAP * (2 + 3 * 2 + 1), 2 * (CONV_3X3 + LINEAR) + MAP
    ),
    "macs": Pair(CONV_3X3 + CONV_1X1 + LINEAR, CONV_3X3 + LINEAR),
}
# Elements of activations, original and folded.
ACTIVATIONS = {
    # Two convolutions, three BatchNorms, ReLU: one in, one out; two additions: two in, one out.
    "traffic": Pair((2 + 3 + 1) * 2 * MAP + 2 * 3 * MAP + MAP + 2, 2 * 2 * MAP + MAP + 2),
    "outputs": Pair((2 + 3 + 1 + 2) * MAP + 2, 2 * MAP + 2),
    "layers": Pair(4 * MAP + MAP + 2, 2 * MAP + MAP + 2),
    "layer-inputs": Pair(2 * MAP + MAP, MAP + MAP),
    "layer-outputs": Pair(2 * MAP + 2, MAP + 2),
    "block-traffic": Pair(3 * MAP + 2, 3 * MAP + 2),
    "block-inputs": Pair(2 * MAP, 2 * MAP),
    "block-outputs": Pair(MAP + 2, MAP + 2),
    "peak": Pair(3 * MAP, 2 * MAP),
    "ends": Pair(MAP + 2, MAP + 2),
    "weights": Pair(0, 0),
}


@pytest.fixture(scope="module")
def forms() -> Forms:
    block = ("block", RepVGGBlock(3, 3))
    logits = ("logits", nn.Sequential(nn.Flatten(), nn.Linear(MAP, 2)))
    return forms_of(Network([block, logits], InputSpec(4, 4)))


def test_the_accountings_are_those_counted_here():
    assert tuple(f"{c}/{m}" for c in OPERATIONS for m in ACTIVATIONS) == ACCOUNTINGS


@pytest.mark.parametrize("accounting", ACCOUNTINGS)
def test_two_layers_by_hand(forms, accounting):
    counted, _, memory = accounting.partition("/")
    expected_bytes = [
        4 * (weights + activations)
        for weights, activations in zip(WEIGHTS, ACTIVATIONS[memory], strict=True)
    ]
    assert operations(forms, accounting) == OPERATIONS[counted]
    assert memory_bytes(forms, accounting) == tuple(expected_bytes)
    assert intensities(forms, accounting) == pytest.approx(
        [c / m for c, m in zip(OPERATIONS[counted], expected_bytes, strict=True)]
    )


def test_distance_is_the_mean_of_both_forms_and_has_no_direction():
    assert distance(Pair(2.0, 4.0), Pair(1.0, 4.0)) == pytest.approx(math.log(2) / 2)
    assert distance(Pair(1.0, 4.0), Pair(2.0, 4.0)) == pytest.approx(math.log(2) / 2)
    assert distance(Pair(3.0, 4.0), Pair(3.0, 4.0)) == 0


def test_an_accounting_that_is_not_there_is_said():
    assert what_counts("macs/weights")[1] == "weights alone"
    with pytest.raises(CodesignError, match="no accounting 'flops'; write flops or macs, a slash"):
        what_counts("flops")
