"""Modules by name, and their weights from files: what is wrong is one line."""

import math

import pytest
import safetensors.torch
import torch
from torch import nn

from codesign_ros.models.graph.module_spec import make_module
from codesign_ros.models.graph.module_weights import check_finite, load_module_weights
from codesign_ros.types.errors import CodesignError

SOURCE = """
from torch import nn
from beside import WIDTH


class Net(nn.Module):
    def __init__(self, width=WIDTH):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3)

    def forward(self, x):
        return self.conv(x)


ready = Net()
number = 3


def no_module():
    return "net"
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "own_net.py").write_text(SOURCE)
    (tmp_path / "beside.py").write_text("WIDTH = 5\n")
    (tmp_path / "broken.py").write_text("import nowhere_to_be_found\n")
    return tmp_path


def test_from_a_file(folder):
    assert make_module(f"{folder}/own_net.py:Net", {}).conv.out_channels == 5
    assert make_module(f"{folder}/own_net.py:Net", {"width": 7}).conv.out_channels == 7
    assert isinstance(make_module(f"{folder}/own_net.py:ready", {}), nn.Module)


def test_from_a_package(folder, monkeypatch):
    assert isinstance(make_module("torch.nn:Identity", {}), nn.Identity)
    monkeypatch.chdir(folder)
    assert make_module("own_net:Net", {}).conv.out_channels == 5


def test_from_torchvision_and_timm():
    assert make_module("torchvision:resnet18", {"num_classes": 4}).fc.out_features == 4
    assert make_module("timm:resnet18", {"num_classes": 4}).fc.out_features == 4


@pytest.mark.parametrize(
    ("spec", "args", "text"),
    [
        ("resnet18", {}, "is not written as torchvision:NAME"),
        (":resnet18", {}, "is not written as"),
        ("torchvision:resnet19", {}, "torchvision has no model 'resnet19'"),
        ("torchvision:resnet18", {"depth": 3}, "unexpected keyword argument 'depth'"),
        ("timm:resnet19", {}, "timm has no model 'resnet19'"),
        ("nowhere.py:Net", {}, "there is no file nowhere.py"),
        ("nowhere_at_all:Net", {}, "nowhere_at_all cannot be imported: there is no package"),
        ("FOLDER/own_net.py:Nat", {}, "has no 'Nat'"),
        ("FOLDER/own_net.py:Net", {"height": 1}, "unexpected keyword argument 'height'"),
        ("FOLDER/own_net.py:ready", {"width": 1}, "takes no arguments"),
        ("FOLDER/own_net.py:number", {}, "is a int, not a class"),
        ("FOLDER/own_net.py:no_module", {}, "makes a str, not a torch.nn.Module"),
        ("FOLDER/broken.py:Net", {}, "cannot be imported: ModuleNotFoundError"),
    ],
)
def test_a_mistake_is_one_line(spec, args, text, folder):
    with pytest.raises(CodesignError, match=text) as error:
        make_module(spec.replace("FOLDER", str(folder)), args)
    assert "\n" not in str(error.value)


def test_pretrained_is_for_zoos():
    with pytest.raises(CodesignError, match="only torchvision and timm"):
        make_module("torch.nn:Identity", {}, pretrained=True)


@pytest.fixture
def net(folder):
    return make_module(f"{folder}/own_net.py:Net", {})


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model", "ema"])
def test_weights_are_set(net, folder, wrapper):
    weights = {name: torch.randn_like(tensor) for name, tensor in net.state_dict().items()}
    file = folder / "net.pth"
    torch.save(weights if wrapper is None else {wrapper: weights, "epoch": 3}, file)
    load_module_weights(net, file)
    assert torch.equal(net.conv.weight, weights["conv.weight"])
    safetensors.torch.save_file({k: 2 * v for k, v in weights.items()}, folder / "n.safetensors")
    load_module_weights(net, folder / "n.safetensors")
    assert torch.equal(net.conv.weight, 2 * weights["conv.weight"])


def test_wrong_weights_are_one_line_and_change_nothing(net, folder):
    good = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    bias = torch.zeros(5)
    for content, text in (
        ({"conv.bias": bias}, r"they lack 'conv.weight' \(1 missing, 0 foreign\)"),
        ({**good, "fc.bias": bias}, r"they have 'fc.bias' \(0 missing, 1 foreign\)"),
        ({**good, "conv.bias": torch.zeros(4)}, r"'conv.bias' is \(4,\)"),
        ({"conv.weight": 3}, "are not tensors by name"),
        (nn.Linear(2, 2), r"hold a torch\.nn\.modules\.linear\.Linear.*save its state_dict alone"),
        (b"nothing", "are not tensors by name"),
    ):
        torch.save(content, folder / "net.pth")
        with pytest.raises(CodesignError, match=text) as error:
            load_module_weights(net, folder / "net.pth")
        assert "\n" not in str(error.value)
    for name, data in (("cut.safetensors", b"\0" * 20), ("cut.pth", b"PK\3\4"), ("no.pt", b"")):
        (folder / name).write_bytes(data)
        with pytest.raises(CodesignError, match="cannot be read"):
            load_module_weights(net, folder / name)
    with pytest.raises(CodesignError, match="there is no file of weights"):
        load_module_weights(net, folder / "none.pth")
    assert all(torch.equal(good[name], tensor) for name, tensor in net.state_dict().items())


def renamed(weights, write):
    return {write(name): tensor for name, tensor in weights.items()}


@pytest.mark.parametrize(
    ("make", "notes"),
    [
        (lambda w: renamed(w, lambda n: f"module.{n}"), ["'module.' taken away"]),
        (lambda w: renamed(w, lambda n: f"_orig_mod.{n}"), ["'_orig_mod.' taken away"]),
        (lambda w: renamed(w, lambda n: f"module._orig_mod.model.{n}"), ["'module.model.' and"]),
        (lambda w: renamed(w, lambda n: f"_orig_mod.module.{n}"), ["'module.' and '_orig_mod.'"]),
        (lambda w: renamed(w, lambda n: n.replace("conv.", "conv._orig_mod.")), ["'_orig_mod.' t"]),
        (
            lambda w: {"n_averaged": torch.tensor(3), **renamed(w, lambda n: f"module.{n}")},
            ["'module.' taken away"],
        ),
        (
            lambda w: {"loss.weight": torch.ones(2), **renamed(w, lambda n: f"model.{n}")},
            ["'model.' taken away", "1 that are not the network's left out: loss.weight"],
        ),
        (
            lambda w: {"epoch": 3, "state_dict": renamed(w, lambda n: f"model.{n}"), "lr": [0.1]},
            ["those of net.pth['state_dict']", "'model.' taken away"],
        ),
        (lambda w: {"model": renamed(w, lambda n: n + "x"), "ema": {"module": w}}, ["'ema'"]),
        (lambda w: {"ema": None, "model": w}, ["['model']"]),
    ],
)
def test_checkpoints_as_people_have_them(net, folder, make, notes):
    weights = {name: torch.randn_like(tensor) for name, tensor in net.state_dict().items()}
    torch.save(make(weights), folder / "net.pth")
    said = load_module_weights(net, folder / "net.pth")
    assert len(said) == len(notes)
    assert all(part in note for part, note in zip(notes, said, strict=True)), said
    assert all(torch.equal(weights[name], tensor) for name, tensor in net.state_dict().items())


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_weights_that_are_no_numbers_are_refused(net, folder, value):
    weights = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    weights["conv.bias"][1] = value
    safetensors.torch.save_file(weights, folder / "n.safetensors")
    with pytest.raises(CodesignError, match=r"not finite, in 'conv\.bias'"):
        load_module_weights(net, folder / "n.safetensors")
    check_finite(net)
    net.load_state_dict(weights)
    with pytest.raises(CodesignError, match=r"'conv\.bias' holds numbers that are not finite"):
        check_finite(net)


def test_a_mask_may_be_infinite_and_counts_may_lack(folder):
    net = nn.Sequential(nn.BatchNorm2d(2))
    net.register_buffer("mask", torch.tensor([0.0, -math.inf]))
    check_finite(net)
    weights = {n: t for n, t in net.state_dict().items() if not n.endswith("num_batches_tracked")}
    torch.save(weights, folder / "net.pth")
    assert load_module_weights(net, folder / "net.pth") == []
    net[0].running_var[0] = math.inf
    with pytest.raises(CodesignError, match="running_var"):
        check_finite(net)
