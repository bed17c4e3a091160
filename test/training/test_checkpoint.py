"""A run that was interrupted goes on as if it had not been."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from codesign_ros.training import checkpoint
from codesign_ros.training.schedule import moving_average, rate_share
from codesign_ros.types.errors import CodesignError


def made(width=3):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, width, 1, bias=False), nn.BatchNorm2d(width))
    average = moving_average(model, 0.9)
    return model, average, torch.optim.AdamW(model.parameters(), 0.01)


def train(model, average, optimiser, steps, seed):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        loss = model(torch.randn(4, 3, 5, 5, generator=generator)).square().sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        average.update_parameters(model)


def test_all_comes_back(tmp_path):
    run = made()
    train(*run, 3, seed=1)
    checkpoint.save(tmp_path / "c.safetensors", *run, 3, {"curve": [1.5], "name": "x"})
    again = made()
    train(*again, 1, seed=9)  # something else in it, so that nothing is right by chance
    assert checkpoint.load(tmp_path / "c.safetensors", *again) == (
        3,
        {"curve": [1.5], "name": "x"},
    )
    for each in (run, again):
        train(*each, 2, seed=2)
    for a, b in zip(run[:2], again[:2], strict=True):
        for name, tensor in a.state_dict().items():
            assert torch.equal(tensor, b.state_dict()[name]), name


def test_mistakes_are_one_line(tmp_path):
    path = tmp_path / "c.safetensors"
    with pytest.raises(CodesignError, match="there is no checkpoint"):
        checkpoint.load(path, *made())
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(CodesignError, match="cannot be read") as error:
        checkpoint.load(path, *made())
    assert "\n" not in str(error.value)
    run = made()
    train(*run, 1, seed=1)
    checkpoint.save(path, *run, 1, {})
    with pytest.raises(CodesignError, match="another network") as error:
        checkpoint.load(path, *made(width=4))
    assert "\n" not in str(error.value)
    with pytest.raises(CodesignError, match="cannot write"):
        checkpoint.save(tmp_path / "no" / "c.safetensors", *run, 1, {})


def test_the_rate_rises_and_falls():
    shares = [rate_share(step, 200) for step in range(200)]
    assert max(shares) == 1
    assert shares.index(max(shares)) in (9, 10)
    assert shares[0] == pytest.approx(0.1)
    assert shares[-1] < 0.001
    assert all(a >= b for a, b in pairwise(shares[10:]))


def test_the_average_forgets_the_first_weights():
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 100.0)
    average = moving_average(model, 0.999)
    nn.init.constant_(model.weight, 1.0)
    for _ in range(60):
        average.update_parameters(model)
    assert average.module.weight.item() == pytest.approx(1, abs=1e-3)
