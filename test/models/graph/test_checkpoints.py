"""Checkpoints as people save them: which weights are taken, and what is said of the others."""

import argparse
import collections
import datetime
import pathlib

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from codesign_ros.models.graph.module_weights import check_finite, load_module_weights
from codesign_ros.types.errors import CodesignError


@pytest.fixture
def net():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


@pytest.fixture
def weights(net):
    return {
        name: torch.rand_like(tensor) if tensor.is_floating_point() else tensor
        for name, tensor in net.state_dict().items()
    }


def other(weights):
    return {name: tensor + 1 for name, tensor in weights.items()}


def before(prefix, weights):
    return {f"{prefix}{name}": tensor for name, tensor in weights.items()}


def loaded(net, content, folder):
    """Notes of a file, and what the network then has."""
    torch.save(content, folder / "net.pth")
    notes = load_module_weights(net, folder / "net.pth")
    return notes, {name: tensor.clone() for name, tensor in net.state_dict().items()}


def refused(net, content, folder):
    torch.save(content, folder / "net.pth")
    with pytest.raises(CodesignError) as error:
        load_module_weights(net, folder / "net.pth")
    assert "\n" not in str(error.value)
    return str(error.value)


def same(found, expected):
    return all(torch.equal(found[name], tensor) for name, tensor in expected.items())


@pytest.mark.parametrize(
    ("averaged", "last"),
    [
        ("state_dict_ema", "state_dict"),  # timm
        ("params_ema", "params"),  # BasicSR
        ("model_ema", "model"),  # torchvision
        ("ema", "model"),
        ("EMA", "net"),
        ("swa_model", "model_state_dict"),
        ("averaged", "weights"),
    ],
)
@pytest.mark.parametrize("in_turn", [False, True])
def test_averaged_weights_are_taken_before_the_last(
    net, weights, tmp_path, averaged, last, in_turn
):
    content = {averaged: weights, last: other(weights), "epoch": 3}
    if in_turn:
        content = dict(reversed(content.items()))
    notes, found = loaded(net, content, tmp_path)
    assert same(found, weights)
    assert notes == [
        f"weights: those of net.pth['{averaged}'], averaged ones, not of net.pth['{last}']"
    ]


def test_averaged_weights_within_one_mapping_are_taken_too(net, weights, tmp_path):
    for top, last in (("ema_model.module.", "model."), ("model_ema.", "model."), ("ema.", "")):
        content = {**before(last, other(weights)), **before(top, weights)}
        notes, found = loaded(net, {"state_dict": content}, tmp_path)
        assert same(found, weights)
        assert notes[0] == "weights: those of net.pth['state_dict']"
        assert f"{top!r} taken away" in notes[1]
        assert f"{len(weights)} that are not the network's left out: {last}" in notes[2]


def test_averaged_weights_of_torch_have_a_count(net, weights, tmp_path):
    content = {"n_averaged": torch.tensor(5), **before("module.", weights)}
    notes, found = loaded(net, {"model": other(weights), "model_ema": content}, tmp_path)
    assert same(found, weights)
    assert len(notes) == 2


def test_averaged_weights_that_do_not_fit_are_told(net, weights, tmp_path):
    content = {"ema": before("x.", weights), "model": weights}
    notes, found = loaded(net, content, tmp_path)
    assert same(found, weights)
    assert notes[1].startswith("weights: averaged ones in net.pth['ema'] not taken")


def test_an_optimizers_averages_are_no_weights(net, weights, tmp_path):
    content = {"optimizer": {"ema": other(weights)}, "model": weights}
    notes, found = loaded(net, content, tmp_path)
    assert same(found, weights)
    assert notes == ["weights: those of net.pth['model']"]
    trained = torch.optim.Adam(net.parameters())
    net(torch.rand(1, 3, 8, 8)).sum().backward()
    trained.step()
    content = {"opt": trained.state_dict(), "rng": torch.get_rng_state(), "state_dict": weights}
    assert same(loaded(net, content, tmp_path)[1], weights)


@pytest.mark.parametrize(
    ("wrap", "where"),
    [
        (lambda w: {"model_state": w}, "['model_state']"),
        (lambda w: {"network": w, "epoch": 3}, "['network']"),
        (lambda w: {"what": w, "loss": torch.tensor(0.1)}, "['what']"),
        (lambda w: {"generator": w, "discriminator": before("d.", w)}, "['generator']"),
        (lambda w: [w], "[0]"),
        (lambda w: (w, {"lr": 0.1}), "[0]"),
        (lambda w: {0: w}, "[0]"),
        (lambda w: {"a": {"b": {"c": w}}}, "['a']['b']['c']"),
        (lambda w: {"hyper": {"lr": 0.1}, "task": [{"state": w}]}, "['task'][0]['state']"),
    ],
)
def test_the_only_weights_that_fit_are_found(net, weights, tmp_path, wrap, where):
    notes, found = loaded(net, wrap(weights), tmp_path)
    assert same(found, weights)
    assert notes == [f"weights: those of net.pth{where}"]


def test_which_of_several_is_not_guessed(net, weights, tmp_path):
    said = refused(net, {"teacher": weights, "student": other(weights)}, tmp_path)
    assert "hold several that fit this network, ['teacher'] and ['student']" in said
    notes, found = loaded(net, {"best": other(weights), "model": weights}, tmp_path)
    assert same(found, weights)
    assert notes == ["weights: those of net.pth['model'], not of net.pth['best']"]


def test_what_holds_no_tensors_says_what_it_holds(net, tmp_path):
    for content, text in (
        ({"epoch": 3, "model": "resnet"}, "there is 'epoch' (int), 'model' (str)"),
        ({}, "there is nothing"),
        ({f"k{i}": i for i in range(99)}, "(99 in all)"),
        ([1, 2], "there is a list"),
        (torch.zeros(3), "there is a Tensor"),
    ):
        assert text in refused(net, content, tmp_path)


def test_entries_that_are_no_tensors_are_left_out(net, weights, tmp_path):
    extra = {"1.num_batches_tracked": 7, "epoch": 5, "x": None, "f": 0.5, "_extra_state": {}}
    notes, found = loaded(net, {**weights, **extra}, tmp_path)
    assert notes == ["weights: 5 that are no tensors left out: 1.num_batches_tracked"]
    del weights["1.num_batches_tracked"]
    assert same(found, weights)
    notes, found = loaded(net, {"state_dict": before("model.", weights) | {"it": 3}}, tmp_path)
    assert notes[2] == "weights: 1 that are not the network's left out: it"
    for value, kind in ((None, "NoneType"), (3, "int"), (np.float64(1), "scalar")):
        said = refused(net, {**weights, "0.bias": value}, tmp_path)
        assert "'0.bias' is no tensor (" in said
        assert kind in said


@pytest.mark.parametrize("zipped", [True, False])
def test_options_scalars_and_paths_may_stand_beside(net, weights, tmp_path, zipped):
    content = {
        "model": weights,
        "args": argparse.Namespace(lr=0.1, device=torch.device("cpu"), layers=[1, 2]),
        "best": np.float64(0.3),
        "count": np.int32(3),
        "kind": np.dtype("float32"),
        "out": pathlib.PosixPath("/x"),
        "seen": collections.Counter(a=1),
    }
    file, safe = tmp_path / "net.pth", set(torch.serialization.get_safe_globals())
    torch.save(content, file, _use_new_zipfile_serialization=zipped)
    assert load_module_weights(net, file) == ["weights: those of net.pth['model']"]
    assert same(net.state_dict(), weights)
    assert set(torch.serialization.get_safe_globals()) == safe


class Runs:
    """Runs code where it is unpickled."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return pathlib.Path.touch, (self.file,)


def test_what_would_run_code_is_named_and_does_not_run(net, weights, tmp_path):
    touched = tmp_path / "touched"
    for value, name in (
        (nn.Linear(2, 2), "torch.nn.modules.linear.Linear"),
        (datetime.timedelta(1), "datetime.timedelta"),
        (np.zeros(3), "multiarray._reconstruct"),
        (Runs(touched), "getattr"),
        (print, "print"),
        (pathlib.os.system, "system"),
    ):
        said = refused(net, {"model": weights, "value": value}, tmp_path)
        assert name in said
        assert "save its state_dict alone" in said
    assert not touched.exists()


def test_files_of_safetensors_may_have_any_name(net, weights, tmp_path):
    for name in ("n.safetensors", "n.SAFETENSORS", "n.st", "n.pth", "n"):
        safetensors.torch.save_file(weights, tmp_path / name)
        assert load_module_weights(net, tmp_path / name) == []
        assert same(net.state_dict(), weights)
    torch.save(weights, tmp_path / "n.safetensors")
    assert load_module_weights(net, tmp_path / "n.safetensors") == []


STRANGE = [
    ("sparse", lambda tensor: tensor.to_sparse()),
    ("sparse", lambda tensor: tensor.flatten(1).to_sparse_csr()),
    ("meta", lambda tensor: tensor.to("meta")),
    ("nested", lambda tensor: torch.nested.nested_tensor(list(tensor))),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("kind", "make"), STRANGE)
def test_tensors_that_are_not_plain_are_named(net, weights, tmp_path, kind, make):
    strange = make(weights["0.weight"])
    said = refused(net, {**weights, "0.weight": strange}, tmp_path)
    assert f"hold a {kind} tensor, '0.weight'" in said
    net[0].weight = nn.Parameter(strange)
    with pytest.raises(CodesignError, match=rf"weight '0\.weight' is a {kind} tensor"):
        check_finite(net)
    torch.save(weights, tmp_path / "net.pth")
    with pytest.raises(CodesignError, match=rf"weight '0\.weight' is a {kind} tensor"):
        load_module_weights(net, tmp_path / "net.pth")


@pytest.mark.filterwarnings("ignore")
def test_tensors_that_would_be_cast_without_a_word_are_named(net, weights, tmp_path):
    for kind, make in (
        ("quantised", lambda tensor: torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8)),
        ("is complex64, the network's is float32", lambda tensor: tensor + 1j),
        ("is int32, the network's is float32", lambda tensor: tensor.to(torch.int32)),
        ("is uint8, the network's is float32", lambda tensor: tensor.to(torch.uint8)),
        ("is bool, the network's is float32", lambda tensor: tensor > 0),
    ):
        said = refused(net, {**weights, "0.bias": make(weights["0.bias"])}, tmp_path)
        assert kind in said
        assert "'0.bias'" in said


def test_a_lazy_network_is_named():
    with pytest.raises(CodesignError, match="'weight' is a lazy tensor"):
        check_finite(nn.LazyConv2d(3, 3))


def test_weights_of_few_bits_are_taken(net, weights, tmp_path):
    short = {n: t.to(torch.float8_e4m3fn) for n, t in weights.items() if t.is_floating_point()}
    assert same(loaded(net, short, tmp_path)[1], {n: t.float() for n, t in short.items()})


def test_state_that_is_no_tensor_stays(net, weights, tmp_path):
    class Counted(nn.Sequential):
        def get_extra_state(self):
            return {"seen": 3}

        def set_extra_state(self, state):
            self.seen = state["seen"]

    counted = Counted(*net)
    check_finite(counted)
    torch.save(weights, tmp_path / "net.pth")
    load_module_weights(counted, tmp_path / "net.pth")
    assert same(counted.state_dict(), weights)
    assert counted.seen == 3


def test_a_file_that_git_lfs_did_not_fetch_is_named(net, tmp_path):
    file = tmp_path / "net.safetensors"
    file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")
    with pytest.raises(CodesignError, match=r"were not fetched, this is a pointer of Git LFS"):
        load_module_weights(net, file)
