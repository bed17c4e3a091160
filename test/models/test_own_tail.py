import numpy as np
import pytest
import torch

from codesign_ros.models.network import Network, Segment, weights_of
from codesign_ros.models.own_tail import tail_of, tail_weights
from support.tiny import TINY_INPUT, tiny_network


def test_it_runs_what_is_behind_and_holds_nothing_else():
    network, enter = tiny_network(), 3
    tail = tail_of(network, enter)
    last, names = len(network.segment_names), network.output_names
    crossing = [spec.name for spec in network.crossing(enter)]
    image = torch.rand(1, 3, TINY_INPUT.height, TINY_INPUT.width)
    with torch.no_grad():
        made = network.run({"image": image}, 0, enter, crossing)
        (expected,) = network.run(made, enter, last, names).values()
        (found,) = tail.run(made, enter, last, names).values()
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    behind = {
        name
        for name, _ in network.named_parameters()
        if int(name.removeprefix("segments.").split(".")[0]) >= enter
    }
    assert behind
    assert {name for name, _ in tail.named_parameters()} == behind


def test_it_is_a_copy():
    network = tiny_network()
    before = weights_of(network)
    with torch.no_grad():
        for parameter in tail_of(network, 3).parameters():
            parameter.zero_()
    for name, array in weights_of(network).items():
        np.testing.assert_array_equal(array, before[name])


def test_its_weights_have_half_the_bytes_unless_they_are_too_large():
    network = tiny_network()
    *_, (name, parameter) = network.named_parameters()
    with torch.no_grad():
        parameter.view(-1)[0] = 1e6
    weights = tail_weights(tail_of(network, 3))
    assert weights[name].dtype == np.float32
    assert weights[name].flat[0] == 1e6
    others = [array for each, array in weights.items() if each != name]
    assert others
    assert {array.dtype for array in others} == {np.dtype(np.float16)}
    own = weights_of(network)
    for each, array in weights.items():
        np.testing.assert_allclose(array, own[each], rtol=2e-3, atol=1e-6)


@pytest.mark.parametrize("enter", [1, 2])
def test_a_module_that_is_used_twice_has_all_its_names(enter):
    shared = torch.nn.Conv2d(3, 3, 1)
    segments = [Segment(name, shared) for name in ("a", "b", "c")]
    network = Network(segments, TINY_INPUT)
    expected = {f"segments.{i}.{each}" for i in range(enter, 3) for each in ("weight", "bias")}
    assert set(tail_weights(tail_of(network, enter))) == expected
