"""A neck as it is trained: with gains by level and a model of how many bits its codes take.

A code's bits are those of a logistic distribution, one for each channel and level, whose place and
width are learned; the true ones are then counted (`count_codes`). While training, noise stands in
for rounding where bits are counted (Balle et al., "End-to-end Optimized Image Compression", ICLR
2017), and rounding whose gradient is passed on where the answer is judged.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from codesign_ros.models.neck import Beside, Neck
from codesign_ros.models.network import Network
from codesign_ros.wire.neck.tables import CodeTables, frequencies_of

LARGEST_CODE = 31
"""Codes are -31..31."""

# By how much more than weights the gains move with one step: they are logarithms.
_FASTER = 3.0
# From level to level codes become coarser and bytes dearer, to begin with.
_STEP_OF_LEVELS = 2.0
_FIRST_PRICE, _PRICE_OF_LEVELS = 0.03, 2.5
_LEAST_PROBABILITY = 1e-6
# Seen in none of the frames that tables are counted on, and yet possible.
_UNSEEN = 0.05


class RatedNeck(nn.Module):
    """A neck with its gains.

    Args:
        neck: encoder and decoder.
        levels: how many rates there are.
        tail: what is trained with them, see `models.own_tail`; None = the tail stays.

    Attributes:
        log_price: logarithm of what a kilobyte costs at each level, see `trainer`.
    """

    log_price: torch.Tensor

    def __init__(self, neck: Neck, levels: int, tail: Network | None = None) -> None:
        super().__init__()
        self.neck = neck
        self.tail = tail
        channels = neck.latent[0]
        self.gain = nn.Parameter(torch.zeros(levels, channels))
        self.place = nn.Parameter(torch.zeros(levels, channels))
        self.width = nn.Parameter(torch.zeros(levels, channels))
        prices = _FIRST_PRICE * _PRICE_OF_LEVELS ** torch.arange(levels)
        self.register_buffer("log_price", prices.log())

    def train(self, mode: bool = True) -> RatedNeck:
        """Set the mode; BatchNorm's statistics in the tail stay as they are."""
        super().train(mode)
        if self.tail is not None:
            self.tail.eval()
        return self

    @property
    def levels(self) -> int:
        """How many rates there are."""
        return int(self.gain.shape[0])

    def gains(self) -> torch.Tensor:
        """Codes for each unit of the latent, (levels, C)."""
        return (_FASTER * self.gain).exp()

    def forward(
        self, sources: Sequence[torch.Tensor], level: torch.Tensor, noise: torch.Tensor
    ) -> tuple[list[torch.Tensor], torch.Tensor, torch.Tensor]:
        """Encode, round and decode.

        Args:
            sources: what the encoder takes, each (B, ...).
            level: (B,) of each sample.
            noise: (B, C, h, w) in -0.5..0.5.

        Returns:
            What the decoders make; the bits of each sample (B,), with noise; and those of its
            codes as they are, which have no gradient and are fewer.
        """
        gain = self.gains()[level][..., None, None]
        latent = self.neck.encoder(*sources).float() * gain
        latent = latent.clamp(-LARGEST_CODE, LARGEST_CODE)
        codes = latent + (latent.round() - latent).detach()
        decoded = self.neck.decode(codes / gain)
        with torch.no_grad():
            rounded = self._bits(codes.detach(), level).sum((1, 2, 3))
        return decoded, self._bits(latent + noise, level).sum((1, 2, 3)), rounded

    def _bits(self, codes: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
        place = _FASTER * self.place[level][..., None, None]
        width = (_FASTER * self.width[level][..., None, None]).exp()
        high, low = (codes + 0.5 - place) / width, (codes - 0.5 - place) / width
        # In the tail where the difference of two numbers near 1 would not be lost.
        sign = torch.where(high + low > 0, -1.0, 1.0)
        probability = (torch.sigmoid(sign * high) - torch.sigmoid(sign * low)).abs()
        return -torch.log2(probability.clamp(min=_LEAST_PROBABILITY))

    @torch.no_grad()
    def start(
        self, sources: Sequence[torch.Tensor], targets: Sequence[torch.Tensor]
    ) -> tuple[float, float]:
        """Set encoder and decoders to the best linear ones, and gains that fit.

        The decoders' are the principal components of what one place of the latent stands for, a
        patch of each target, each target scaled so that its error counts as share of its variance,
        as in training; the encoder's those of their coefficients that the sources tell by least
        squares.

        Args:
            sources: each (n, C, H, W) float32, from frames.
            targets: likewise, of the same frames.

        Returns:
            The share of the targets' variance that the components hold, and the share of theirs
            that the encoder tells.
        """
        neck = self.neck
        parts = [_patches(t, d.patch) for t, d in zip(targets, neck.decoders, strict=True)]
        scales = _scales(parts)
        patches = torch.cat([part * s for part, s in zip(parts, scales, strict=True)], 1)
        mean = patches.mean(0)
        centred = patches - mean
        values, vectors = torch.linalg.eigh(centred.T @ centred / len(centred))
        channels = neck.latent[0]
        components = vectors[:, -channels:].flip(1)
        variances = values[-channels:].flip(0).clamp(min=1e-12)
        coefficients = centred @ components
        sizes = [part.shape[1] for part in parts]
        for decoder, scale, rows, bias in zip(
            neck.decoders, scales, components.split(sizes), mean.split(sizes), strict=True
        ):
            out = decoder.expand.linear
            assert out.bias is not None
            out.weight.copy_(rows[:, :, None, None] / scale)
            out.bias.copy_(bias / scale)
        told = _regress([encoder.linear for encoder in neck.encoders], sources, coefficients)
        finest = -variances[-1].sqrt().log()
        for level in range(self.levels):
            self.gain[level] = (finest - math.log(_STEP_OF_LEVELS) * level) / _FASTER
        self._spread(variances.sqrt())
        return float(variances.sum() / values.clamp(min=0).sum()), told

    @torch.no_grad()
    def go_on_from(self, neck: Neck, gains: np.ndarray, sources: Sequence[torch.Tensor]) -> None:
        """Take over a neck of the same form, or one with fewer blocks at the latent's resolution.

        Args:
            neck: encoder and decoder; blocks that it does not have change nothing at first.
            gains: (levels, C), codes for each unit of its latent.
            sources: each (n, C, H, W) float32, from frames.
        """
        for encoder, given in zip(self.neck.encoders, neck.encoders, strict=True):
            _take_over(encoder, given, behind=1)  # the last convolution
        for decoder, its in zip(self.neck.decoders, neck.decoders, strict=True):
            _take_over(decoder.expand, its.expand, behind=2)  # and its ReLU
            decoder.refine.load_state_dict(its.refine.state_dict())
        self.gain.copy_(torch.from_numpy(gains).log() / _FASTER)
        latents = latents_of_maps(self.neck, sources)
        self.place.copy_(latents.mean((0, 2, 3)) * self.gains() / _FASTER)
        self._spread(latents.std((0, 2, 3)))

    @torch.no_grad()
    def scale_gains(self, factors: Sequence[float]) -> None:
        """Multiply the gains of each level."""
        self.gain.add_(torch.tensor(factors).log()[:, None].to(self.gain) / _FASTER)

    def _spread(self, deviations: torch.Tensor) -> None:
        """Set widths that fit a latent of these standard deviations, (C,)."""
        self.width.copy_((deviations * self.gains() * 0.5 + 0.15).log() / _FASTER)


@torch.no_grad()
def latents_of_maps(neck: Neck, sources: Sequence[torch.Tensor]) -> torch.Tensor:
    """What an encoder makes of frames' maps, each (n, C, H, W), one frame at a time."""
    frames = zip(*(source.split(1) for source in sources), strict=True)
    return torch.cat([neck.encoder(*frame) for frame in frames])


def _take_over(own: Beside, its: Beside, behind: int) -> None:
    """Load weights of a part with as many blocks or fewer, ``behind`` modules behind them."""
    own.linear.load_state_dict(its.linear.state_dict())
    mine, taken = list(own.other), list(its.other)
    first = len(taken) - behind
    for module, given in zip([*mine[:first], *mine[-behind:]], taken, strict=True):
        module.load_state_dict(given.state_dict())


def _patches(maps: torch.Tensor, patch: int) -> torch.Tensor:
    """Every patch of (n, C, H, W) as a row of C * patch * patch, edges repeated where it ends."""
    rows, columns = (-side % patch for side in maps.shape[2:])
    maps = F.pad(maps, (0, columns, 0, rows), mode="replicate") if rows or columns else maps
    unfolded = F.pixel_unshuffle(maps, patch)
    return unfolded.permute(0, 2, 3, 1).reshape(-1, unfolded.shape[1])


def _scales(parts: Sequence[torch.Tensor]) -> list[float]:
    """Scales of the patches of maps at which each map's variance is that of the first."""
    variances = [max(float(part.var()), 1e-12) * part.shape[1] for part in parts]
    return [math.sqrt(variances[0] / each) for each in variances]


# Columns of a least-squares problem; more take minutes.
_MOST_COLUMNS = 3000


def _regress(
    linears: Sequence[nn.Conv2d], sources: Sequence[torch.Tensor], wanted: torch.Tensor
) -> float:
    """Set convolutions to those whose sum comes nearest to ``wanted``; return the share it tells.

    Args:
        linears: one for each source.
        sources: each (n, C, H, W).
        wanted: (n * places, channels).
    """
    everything = sum(linear.weight[0].numel() for linear in linears) <= _MOST_COLUMNS
    columns = torch.cat([_columns(linear, everything) for linear in linears])
    frames, count = len(sources[0]), int(columns.sum())
    places = len(wanted) // frames
    mean = torch.zeros(count, dtype=torch.float64)
    square, product = torch.zeros(count, count), torch.zeros(count, wanted.shape[1])
    # One frame at a time: all columns of all frames would not fit into memory.
    for index in range(frames):
        seen = [_seen(linear, source[index : index + 1])
                for linear, source in zip(linears, sources, strict=True)]  # fmt: skip
        each = torch.cat(seen, 1)[:, columns]
        mean += each.sum(0, dtype=torch.float64)
        square += each.T @ each
        product += each.T @ wanted[index * places : (index + 1) * places]
    mean = (mean / len(wanted)).float()
    square -= len(wanted) * mean[:, None] * mean
    sizes = [linear.weight[0].numel() for linear in linears]
    # Of each source's own size, so that small numbers count as large ones do.
    ridge = torch.cat([
        1e-3 * own.mean().expand_as(own)
        for own in square.diagonal().split([int(part.sum()) for part in columns.split(sizes)])
    ])  # fmt: skip
    weights = torch.linalg.solve(square + ridge.diag(), product)
    kernels = torch.zeros(len(columns), wanted.shape[1])
    kernels[columns] = weights
    for linear, rows in zip(linears, kernels.split(sizes), strict=True):
        linear.weight.copy_(rows.T.reshape(linear.weight.shape))
        assert linear.bias is not None
        linear.bias.zero_()
    first = linears[0].bias
    assert first is not None
    first.copy_(-(mean @ weights))
    # Of least squares with a small ridge: what is left over.
    told = (2 * (product * weights).sum() - (weights * (square @ weights)).sum()) / (
        wanted.square().sum()
    )
    return float(told)


def _columns(linear: nn.Conv2d, everything: bool) -> torch.Tensor:
    """Which places of a kernel are fitted, for each channel: all, or those that no other has."""
    kernel, stride, padding = linear.kernel_size[0], linear.stride[0], linear.padding[0]
    assert isinstance(padding, int)
    used = torch.full((kernel, kernel), everything)
    used[padding : padding + stride, padding : padding + stride] = True
    return used.flatten().repeat(linear.in_channels)


def _seen(linear: nn.Conv2d, frame: torch.Tensor) -> torch.Tensor:
    """What a convolution sees of a frame (1, C, H, W) at each place, (places, its columns)."""
    padding = linear.padding[0]
    assert isinstance(padding, int)
    columns = F.unfold(frame, linear.kernel_size[0], padding=padding, stride=linear.stride[0])
    return columns[0].T


class CodeCounter:
    """Counts codes frame by frame, for tables that both ends agree on."""

    def __init__(self, gains: np.ndarray, shape: tuple[int, ...]) -> None:
        levels, channels = gains.shape
        self._gains, self._shape = gains, shape
        self._counts = np.zeros((levels, channels, 2 * LARGEST_CODE + 1), np.int64)
        flat = np.ones((levels, channels, 2 * LARGEST_CODE + 1))
        self.rounding = self._tables(flat)  # rounds as the codec will

    def add(self, codes: np.ndarray, level: int) -> None:
        """Count int8 (C, h, w) codes of a level."""
        symbols = 2 * LARGEST_CODE + 1
        for channel, values in enumerate(codes.reshape(len(codes), -1)):
            places = values.astype(np.int64) + LARGEST_CODE
            self._counts[level, channel] += np.bincount(places, minlength=symbols)

    def tables(self) -> CodeTables:
        """Return tables of all that was counted."""
        return self._tables(self._counts + _UNSEEN)

    def _tables(self, weights: np.ndarray) -> CodeTables:
        channels, rows, columns = self._shape
        frequencies = frequencies_of(weights)
        return CodeTables(self._gains, frequencies, -LARGEST_CODE, (channels, rows, columns))


def entropy_bytes(codes: Iterable[np.ndarray], tables: CodeTables, level: int) -> list[float]:
    """Return what the codes of each frame take with an ideal coder [bytes]."""
    bits = np.log2(tables.frequencies[level].sum(-1, keepdims=True, dtype=np.int64))
    bits = bits - np.log2(tables.frequencies[level])
    channel = np.arange(len(bits))[:, None, None]
    return [float(bits[channel, each.astype(int) - tables.low].sum() / 8) for each in codes]
