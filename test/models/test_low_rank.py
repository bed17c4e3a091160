"""Layers of lower rank, against numpy's singular values and hand counts."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from codesign_ros.cost.accuracy import AccuracyTable
from codesign_ros.cost.profile import profile_network
from codesign_ros.engines.base import EngineKey
from codesign_ros.engines.factory import open_backend
from codesign_ros.evaluation.accuracy_forms import all_forms
from codesign_ros.evaluation.accuracy_table import measure_forms
from codesign_ros.evaluation.judges import ClassJudge
from codesign_ros.models.graph.importing import import_network
from codesign_ros.models.graph.segment import GraphSegment
from codesign_ros.models.layers import layer_records
from codesign_ros.models.low_rank import factorised, rank_kept
from codesign_ros.models.network import Network
from codesign_ros.models.reparam import reparameterize
from codesign_ros.models.zoo.repvgg import mine_repvgg
from codesign_ros.pixels.letterbox import normalise
from codesign_ros.types.forms import RANK_ENERGY_KEPT, Merge, Structure
from codesign_ros.types.tensors import InputSpec
from support.tiny import TINY_INPUT, tiny_frames, tiny_network


def conv_of_rank(rank, in_channels=6, out_channels=8, kernel=3, **options):
    """A convolution whose matrix has that rank, with falling singular values."""
    conv = nn.Conv2d(in_channels, out_channels, kernel, **options)
    columns = in_channels * conv.kernel_size[0] * conv.kernel_size[1]
    rng = np.random.default_rng(3)
    left = np.linalg.qr(rng.normal(size=(out_channels, rank)))[0]
    right = np.linalg.qr(rng.normal(size=(columns, rank)))[0]
    values = 2.0 ** -np.arange(rank)
    conv.weight.data = (
        torch.from_numpy((left * values) @ right.T).float().reshape(conv.weight.shape)
    )
    return conv


def seen(model, x):
    with torch.no_grad():
        return model(x).double().numpy()


@given(
    values=st.lists(st.floats(0.0, 100.0), min_size=1, max_size=12),
    energy=st.floats(0.01, 0.999),
)
@settings(deadline=None)
def test_rank_is_the_smallest_that_keeps_the_energy(values, energy):
    values = sorted(values, reverse=True)
    squares = np.square(values)
    rank = rank_kept(torch.tensor(values, dtype=torch.float64), energy)
    slack = 1e-9 * squares.sum()
    assert 1 <= rank <= len(values)
    assert squares[:rank].sum() >= energy * squares.sum() - slack
    if rank > 1:
        assert squares[: rank - 1].sum() <= energy * squares.sum() + slack


def test_rank_of_hand_worked_values():
    # Squares 16, 4, 1, 0.25, ... of 21.25: shares 0.753, 0.941, 0.988, 1.
    values = torch.tensor([4.0, 2.0, 1.0, 0.5], dtype=torch.float64)
    ranks = [rank_kept(values, energy) for energy in (0.75, 0.76, 0.94, 0.95, 0.98, 0.99, 1.0)]
    assert ranks == [1, 2, 2, 3, 3, 4, 4]
    assert rank_kept(torch.zeros(3, dtype=torch.float64), 0.9) == 1


@pytest.mark.parametrize("energy", [0.0, -0.1, 1.01, float("nan")])
def test_energy_is_a_share(energy):
    with pytest.raises(ValueError, match="energy"):
        factorised(nn.Linear(4, 4), energy)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stride": 2, "padding": 1},
        {"dilation": 2, "bias": False},
        {"kernel": (1, 5), "padding": "same", "padding_mode": "reflect"},
        {"kernel": 1, "in_channels": 20, "out_channels": 20, "stride": 2},
    ],
)
def test_a_layer_that_has_low_rank_stays_the_same(options):
    conv = conv_of_rank(3, **options)
    pair = factorised(conv, 1.0 - 1e-12)
    assert isinstance(pair, nn.Sequential)
    assert [layer.bias is None for layer in pair] == [True, conv.bias is None]
    x = torch.randn(2, conv.in_channels, 9, 9)
    np.testing.assert_allclose(seen(pair, x), seen(conv, x), atol=1e-5)


@pytest.mark.parametrize("energy", [0.5, 0.8, 0.95])
def test_weights_are_numpys_best_of_that_rank(energy):
    conv = nn.Conv2d(16, 32, 3, padding=1)
    matrix = conv.weight.detach().double().numpy().reshape(32, -1)
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    shares = np.cumsum(values**2) / (values**2).sum()
    rank = int(np.argmax(shares >= energy)) + 1
    pair = factorised(conv, energy)
    if rank * (32 + 144) >= 32 * 144:
        assert type(pair) is nn.Conv2d
        return
    first, second = pair
    product = second.weight[:, :, 0, 0].double() @ first.weight.double().flatten(1)
    expected = (left[:, :rank] * values[:rank]) @ right[:rank]
    assert first.out_channels == rank
    np.testing.assert_allclose(product.detach().numpy(), expected, atol=1e-6)
    # What is left out is at most the rest of the energy.
    error = ((product.detach().numpy() - matrix) ** 2).sum()
    assert error <= (1.0 - energy) * (matrix**2).sum() * (1 + 1e-6)
    # An output differs by no more than the largest singular value left out times its input.
    x = torch.randn(1, 16, 3, 3)
    conv.padding = first.padding = (0, 0)
    difference = np.linalg.norm(seen(pair, x) - seen(conv, x))
    assert difference <= values[rank] * float(x.norm()) * (1 + 1e-5)


def test_linear_layers_keep_their_bias():
    linear = nn.Linear(30, 20)
    left, right = torch.randn(20, 2), torch.randn(2, 30)
    linear.weight.data = left @ right
    pair = factorised(linear, 1.0 - 1e-12)
    assert pair[0].out_features == 2
    x = torch.randn(5, 30)
    np.testing.assert_allclose(seen(pair, x), seen(linear, x), atol=1e-5, rtol=1e-5)


def test_layers_for_which_it_is_no_less_work_stay():
    # Rank 3 of a 4 x 4 matrix: 3 * 8 = 24 numbers in the place of 16.
    linear = nn.Linear(4, 4)
    linear.weight.data = torch.diag(torch.tensor([1.0, 1.0, 1.0, 1e-9]))
    assert type(factorised(linear, 0.99)) is nn.Linear
    # Rank 2 is 16 numbers for 16.
    linear.weight.data = torch.diag(torch.tensor([1.0, 1.0, 1e-9, 1e-9]))
    assert type(factorised(linear, 0.99)) is nn.Linear


def test_groups_and_derived_types_are_left_alone():
    class OwnConv(nn.Conv2d):
        pass

    model = nn.Sequential(
        nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 8, 3, groups=2), OwnConv(8, 8, 3)
    )
    again = factorised(model, 0.1)
    assert [type(m) for m in again] == [nn.Conv2d, nn.Conv2d, OwnConv]
    assert again[0] is not model[0]
    torch.testing.assert_close(again[1].weight, model[1].weight)


def test_flops_fall_as_counted_by_hand():
    conv = conv_of_rank(2, in_channels=3, out_channels=16, padding=1)
    network = Network([("a", conv)], InputSpec(10, 20))
    before, after = network, factorised(network, 1.0 - 1e-12)
    assert sum(r.flops for r in layer_records(before)) == 2 * 27 * 16 * 200
    assert [r.flops for r in layer_records(after)] == [2 * 27 * 2 * 200, 2 * 2 * 16 * 200]
    assert after.segment_names == before.segment_names
    assert after.crossing(1) == before.crossing(1)


def test_the_structure_rank_is_the_folded_network_factorised():
    torch.manual_seed(0)
    network = mine_repvgg(3, InputSpec(64, 96)).eval()
    x = torch.randn(1, 3, 64, 96)
    for merge, branch in ((Merge.FOLD, Merge.FOLD), (Merge.PRUNE, Merge.PRUNE)):
        expected = factorised(reparameterize(network, Structure.S3, branch), RANK_ENERGY_KEPT)
        made = reparameterize(network, Structure.RANK, merge)
        np.testing.assert_array_equal(seen(made, x), seen(expected, x))
    with pytest.raises(ValueError, match="already"):
        reparameterize(made, Structure.RANK, Merge.FOLD)


def test_profile_of_rank_is_that_of_the_factorised_network():
    torch.manual_seed(0)
    network = mine_repvgg(3, InputSpec(64, 96)).eval()
    profile = profile_network(network, (Structure.S3, Structure.RANK))
    counted = sum(
        r.flops for r in layer_records(reparameterize(network, Structure.RANK, Merge.FOLD))
    )
    last = profile.segments
    assert profile.flops(0, last, Structure.RANK) == counted
    assert Structure.RANK not in profile_network(network).segment_flops


def test_an_imported_network_is_factorised_too():
    torch.manual_seed(1)
    conv, linear = conv_of_rank(2, 3, 16, padding=1), nn.Linear(16, 12)
    linear.weight.data = torch.randn(12, 2) @ torch.randn(2, 16)
    strided = conv_of_rank(3, 16, 16, stride=2)
    grouped = nn.Conv2d(16, 16, 3, padding=1, groups=16)
    model = nn.Sequential(
        conv, nn.ReLU(), grouped, nn.BatchNorm2d(16), nn.ReLU(), strided, nn.BatchNorm2d(16),
        nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear,
    ).eval()  # fmt: skip
    network = import_network(model, InputSpec(16, 24)).network
    folded = reparameterize(network, Structure.S3, Merge.FOLD)
    small = factorised(folded, 1.0 - 1e-9)
    x = torch.randn(1, 3, 16, 24)
    np.testing.assert_allclose(seen(small, x), seen(model, x), atol=1e-4)
    modules = [
        type(module)
        for segment in small.segments
        if isinstance(segment, GraphSegment)
        for module in segment.step_modules.values()
    ]
    assert sorted(each.__name__ for each in modules) == ["Conv2d", *["Sequential"] * 3]
    assert sum(r.flops for r in layer_records(small)) < sum(r.flops for r in layer_records(folded))


def test_rank_that_was_not_measured_has_no_loss_to_offer():
    table = AccuracyTable("accuracy", 0.9, "nothing", ())
    assert table.structure_loss(Structure.S3, Merge.FOLD, "fp32").value == 0.0
    assert table.structure_loss(Structure.RANK, Merge.FOLD, "fp32") is None


@pytest.mark.parametrize("precision", ["fp32", "int8-tensor"])
def test_a_bundle_runs_in_rank_and_can_be_cut_anywhere(tiny_bundle, engine_cache, precision):
    (frame,) = tiny_frames(1)
    last = len(tiny_bundle.segments)
    (output,) = tiny_bundle.crossings[last]
    factory = open_backend(tiny_bundle, cache_dir=engine_cache)

    def key(part, cut):
        return EngineKey(part, cut, Structure.RANK, precision=precision)

    whole = factory.build(key("head", last)).run({"image": frame})[output.name]
    for cut in (1, 5, last - 1):
        made = factory.build(key("head", cut)).run({"image": frame})
        again = factory.build(key("tail", cut)).run(made)[output.name]
        np.testing.assert_allclose(again, whole, atol=1e-4)
    if precision == "fp32":
        with torch.no_grad():
            network = reparameterize(tiny_bundle.network(), Structure.RANK, Merge.FOLD)
            expected = network(torch.from_numpy(normalise(frame, tiny_bundle.input))).numpy()
        np.testing.assert_allclose(whole, expected, atol=1e-4)


def test_its_accuracy_is_measured_like_any_other():
    network, frames = tiny_network(), tiny_frames(4)
    forms = all_forms((Structure.S3, Structure.RANK), (Merge.FOLD,), ("fp32",))
    with torch.no_grad():
        x = torch.from_numpy(np.concatenate([normalise(f, TINY_INPUT) for f in frames]))
        labels = network(x).argmax(1).numpy()
        own = reparameterize(network, Structure.RANK, Merge.FOLD)(x).argmax(1).numpy()
    table = measure_forms(network, frames, ClassJudge(labels), data="tiny", forms=forms)
    right = float(np.mean(own == labels))
    assert [row.value for row in table.rows] == [1.0, right]
    assert table.structure_loss(Structure.RANK, Merge.FOLD, "fp32").value == pytest.approx(
        1.0 - right
    )
    assert Structure.RANK not in {form.structure for form in all_forms()}
