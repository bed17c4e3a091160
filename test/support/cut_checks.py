"""What must hold at every cut of a network, for the tests of several kinds of networks."""

import torch
from torch import nn

from codesign_ros.models.halves import split


def trained(module, size=64, seed=0):
    """Give norms and scales of branches values as after training, statistics that fit included.

    With others, what a deep network makes of the image may fade to nothing.
    """
    norms = [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)]
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for norm in norms:
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.uniform_(-0.5, 0.5)
            norm.momentum = None  # the mean over all that it is shown
            norm.reset_running_stats()
        for name, parameter in module.named_parameters():
            if name.endswith("gamma"):  # ConvNeXt's, next to 0 before training
                parameter.uniform_(0.5, 1.5)
        if norms:
            module.train()(torch.randn(4, 3, size, size))
    return module.eval()


def difference(a, b):
    """Largest difference of two outputs (tensors by name), as a share of the largest value."""
    assert a.keys() == b.keys()
    scale = max(tensor.abs().max() for tensor in b.values())
    return max((a[name] - b[name]).abs().max() for name in b) / scale


@torch.no_grad()
def check_every_cut(network, image, expected):
    """Head and tail are the whole, and every tensor that crosses is needed.

    ``expected`` has the outputs by name, worked out by other means. Returns the largest number of
    tensors that cross at a cut.
    """
    last = len(network.segment_names)
    generator = torch.Generator().manual_seed(1)
    most = 0
    for cut in range(last + 1):
        head, tail = split(network, cut)
        crossing = head({"image": image})
        assert [s.name for s in network.crossing(cut)] == list(crossing)
        assert {s.name: s.shape for s in network.crossing(cut)} == {
            name: tuple(tensor.shape) for name, tensor in crossing.items()
        }
        assert difference(tail(crossing), expected) < 1e-4
        if cut == last:
            break
        most = max(most, len(crossing))
        for name, tensor in crossing.items():
            others = {key: value for key, value in crossing.items() if key != name}
            try:
                network.run(others, cut, last, network.output_names)
            except KeyError as error:
                assert error.args == (name,)  # noqa: PT017
            else:
                raise AssertionError(f"cut {cut} does without {name}")
            noise = torch.randn(tensor.shape, generator=generator) * (tensor.std() + 0.1)
            changed = tail({**others, name: tensor + noise})
            assert difference(changed, expected) > 1e-6, f"cut {cut}: {name} changes nothing"
    return most
