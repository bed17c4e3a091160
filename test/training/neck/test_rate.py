import math

import numpy as np
import pytest
import torch

from codesign_ros.models.neck import Neck, NeckForm
from codesign_ros.training.neck.rate import (
    LARGEST_CODE,
    CodeCounter,
    RatedNeck,
    entropy_bytes,
)
from codesign_ros.wire.neck.payload import encode_codes


def rated(source=(4, 8, 12), target=(4, 8, 12), levels=3, **sizes):
    torch.manual_seed(0)
    form = NeckForm(channels=5, encoder_width=6, decoder_width=6, positive=False, **sizes)
    return RatedNeck(Neck([source], [target], form), levels)


def smooth_maps(count, channels, rows, columns, seed=0):
    torch.manual_seed(seed)
    coarse = torch.randn(count, channels, rows // 4 + 2, columns // 4 + 2)
    return torch.nn.functional.interpolate(coarse, (rows, columns), mode="bilinear")


def test_the_start_is_what_principal_components_say():
    maps = smooth_maps(6, 4, 8, 12)
    neck = rated()
    held, told = neck.start([maps], [maps])
    # Independently: numpy's singular values of all 2 x 2 patches.
    patches = maps.numpy().reshape(6, 4, 4, 2, 6, 2).transpose(0, 2, 4, 1, 3, 5).reshape(-1, 16)
    centred = patches - patches.mean(0)
    energies = np.linalg.svd(centred, compute_uv=False) ** 2
    assert held == pytest.approx(energies[:5].sum() / energies.sum(), abs=1e-4)
    assert told > 0.98
    with torch.no_grad():
        decoded = neck.neck.decoder(neck.neck.encoder(maps))
    left = float((decoded - maps).square().sum()) / energies.sum()
    assert left == pytest.approx(1 - held, abs=0.02)


def test_the_start_tells_a_deeper_map_from_an_earlier_one():
    """A map that is half as large and linear in the earlier one can be told exactly."""
    source = smooth_maps(8, 4, 16, 24)
    kernel = torch.randn(3, 4, 2, 2)
    target = torch.nn.functional.conv2d(source, kernel, stride=2)
    neck = rated((4, 16, 24), (3, 8, 12))
    _, told = neck.start([source], [target])
    assert told > 0.99


@pytest.mark.parametrize("patch", [1, 2])
def test_the_start_for_two_maps_is_what_principal_components_say(patch):
    """Of both together, each scaled so that its error counts as share of its variance."""
    fine = smooth_maps(10, 3, 16, 24)
    coarse = 50 * smooth_maps(10, 4, 8, 12, seed=1) + 7
    shapes = [(3, 16, 24), (4, 8, 12)]
    form = NeckForm(channels=5, encoder_width=6, decoder_width=6, positive=False, patch=patch)
    neck = RatedNeck(Neck(shapes, shapes, form), 2)
    held, told = neck.start([fine, coarse], [fine, coarse])
    columns = []
    for maps, side in ((fine.numpy(), 2 * patch), (coarse.numpy(), patch)):
        count, channels, rows, width = maps.shape
        cells = maps.reshape(count, channels, rows // side, side, width // side, side)
        scaled = cells / (maps.std() * math.sqrt(channels * side**2))
        columns.append(scaled.transpose(0, 2, 4, 1, 3, 5).reshape(-1, channels * side**2))
    centred = np.concatenate(columns, 1)
    centred = centred - centred.mean(0)
    energies = np.linalg.svd(centred, compute_uv=False) ** 2
    assert held == pytest.approx(energies[:5].sum() / energies.sum(), abs=1e-3)
    assert told > 0.98
    with torch.no_grad():
        decoded = neck.neck.decode(neck.neck.encoder(fine, coarse))
    errors = [
        float((found - maps).square().mean() / maps.var())
        for found, maps in zip(decoded, (fine, coarse), strict=True)
    ]
    # Of each map its own variance is counted, so what is left over is their mean.
    assert np.mean(errors) == pytest.approx(energies[5:].sum() / len(centred) / 2, abs=0.02)


def test_more_columns_than_fit_take_the_middle_of_the_kernel(monkeypatch):
    from codesign_ros.training.neck import rate

    monkeypatch.setattr(rate, "_MOST_COLUMNS", 20)
    maps = smooth_maps(6, 4, 8, 12)
    neck = rated()
    _, told = neck.start([maps], [maps])
    assert told > 0.98
    kernel = neck.neck.encoder.linear.weight.detach()
    assert kernel[:, :, 1:3, 1:3].any()
    outside = kernel.clone()
    outside[:, :, 1:3, 1:3] = 0
    assert not outside.any()


def test_higher_levels_have_fewer_bits():
    maps = smooth_maps(8, 4, 8, 12)
    neck = rated()
    neck.start([maps], [maps])
    noise = torch.rand(8, *neck.neck.latent) - 0.5
    with torch.no_grad():
        made = [neck([maps], torch.full((8,), level), noise) for level in range(3)]
    for bits in ([each[which].mean().item() for each in made] for which in (1, 2)):
        assert bits[0] > bits[1] > bits[2] > 0


def test_deeper_parts_begin_as_the_neck_that_they_go_on_from():
    maps = smooth_maps(4, 4, 8, 12)
    shallow, deep = rated(), rated(encoder_depth=2, decoder_depth=3)
    with torch.no_grad():
        for parameter in shallow.parameters():
            parameter.normal_(0, 0.2)
        deep.go_on_from(shallow.neck, np.ones((3, 5), np.float32), [maps])
        for one, other in ((shallow.neck.encoder(maps), deep.neck.encoder(maps)),
                           (shallow.neck.decoder(shallow.neck.encoder(maps)),
                            deep.neck.decoder(deep.neck.encoder(maps)))):  # fmt: skip
            torch.testing.assert_close(other, one)


def test_rounding_passes_gradients_on():
    maps = smooth_maps(2, 4, 8, 12)
    neck = rated()
    neck.start([maps], [maps])
    noise = torch.zeros(2, *neck.neck.latent)
    (decoded,), bits, rounded = neck([maps], torch.tensor([0, 2]), noise)
    assert not rounded.requires_grad
    (decoded.square().mean() + bits.mean()).backward()
    for name, parameter in neck.named_parameters():
        assert parameter.grad is not None, name
    assert neck.neck.encoder.linear.weight.grad.any()
    assert neck.gain.grad[[0, 2]].any()
    assert not neck.gain.grad[1].any()


def test_counted_entropy_is_what_the_coder_writes():
    gains = np.ones((2, 5), np.float32)
    counter = CodeCounter(gains, (5, 6, 7))
    rng = np.random.default_rng(0)
    codes = [
        np.clip(np.rint(rng.laplace(0, 1.5, (5, 6, 7))), -LARGEST_CODE, LARGEST_CODE).astype(
            np.int8
        )
        for _ in range(20)
    ]
    for each in codes:
        counter.add(each, 1)
    tables = counter.tables()
    assert tables.low == -LARGEST_CODE
    bits = 0.0
    for channel in range(5):
        values = np.concatenate([each[channel].ravel() for each in codes])
        shares = np.unique(values, return_counts=True)[1] / len(values)
        bits -= sum(len(values) * p * math.log2(p) for p in shares)
    ideal = sum(entropy_bytes(codes, tables, 1))
    assert ideal == pytest.approx(bits / 8, rel=0.01)
    written = sum(len(encode_codes(each, tables, 1)) - 10 for each in codes)
    assert written == pytest.approx(ideal, rel=0.02)


def test_it_goes_on_from_a_neck_with_a_shallower_encoder():
    maps = smooth_maps(6, 4, 8, 12)
    first = rated(encoder_depth=1)
    for parameter in first.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    gains = first.gains().detach().numpy()
    for depth in (1, 3):
        second = rated(encoder_depth=depth)
        second.go_on_from(first.neck, gains, [maps])
        one, other = (each.neck.encoder(maps) for each in (first, second))
        torch.testing.assert_close(one, other)
        torch.testing.assert_close(first.neck.decoder(one), second.neck.decoder(other))
        np.testing.assert_allclose(second.gains().detach(), gains, rtol=1e-5)
    # The added blocks learn.
    other.square().sum().backward()
    assert all(block.second.weight.grad.abs().sum() > 0 for block in second.neck.encoder.other[2:5])
