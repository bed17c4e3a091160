"""A neck: an encoder behind the head and a decoder before the tail, so that few bytes cross a cut.

After Yuan et al., "Feature Compression for Rate Constrained Object Detection on the Edge" (MIPR
2022), Matsubara et al., "BottleFit" (WoWMoM 2022) and Furutanpey et al., "FrankenSplit" (TMC 2024):
the network's own weights stay, and the decoder's output takes the place of a tensor that the tail
expects. Encoder and decoder are each a linear map, which has a start in closed form, with a
non-linear one beside it that starts at zero.

What the encoder makes, the latent, is float32. Gains, rounding and entropy coding belong to the
codec, so that its level can change with every frame: Cui et al., "Asymmetric Gained Deep Image
Compression with Continuous Rate Adaptation" (CVPR 2021).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from codesign_ros.models.network import Network, Segment
from codesign_ros.types import NECK, CodesignError

DECODED = "neck.decoded"
"""Name of the segment that a decoder is in a network with a neck."""

Shape = tuple[int, ...]
"""Channels, rows and columns of a map."""


@dataclass(frozen=True)
class NeckForm:
    """The sizes of an encoder and a decoder.

    Attributes:
        channels: C of the latent.
        patch: rows and columns of the decoded map that one place of the latent stands for.
        encoder_width: channels inside the encoder.
        encoder_depth: residual blocks inside it, at the latent's resolution.
        decoder_width: channels inside the decoder, at the latent's resolution.
        decoder_depth: residual blocks there.
        output_depth: residual blocks at the decoded map's resolution.
        positive: whether the decoded map has no negative numbers, as behind a ReLU.
    """

    channels: int = 32
    patch: int = 2
    encoder_width: int = 64
    encoder_depth: int = 0
    decoder_width: int = 96
    decoder_depth: int = 1
    output_depth: int = 1
    positive: bool = True

    def latent(self, target: Shape) -> Shape:
        """Shape of the latent for a decoded map."""
        _, rows, columns = target
        return self.channels, math.ceil(rows / self.patch), math.ceil(columns / self.patch)


class Residual(nn.Module):
    """``x + conv(relu(conv(relu(x))))``, which starts as ``x``; 3x3, any size."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, 1, 1)
        self.second = _zero(nn.Conv2d(channels, channels, 3, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the block for ``x`` of shape (B, channels, H, W)."""
        return x + self.second(torch.relu(self.first(torch.relu(x))))


class Beside(nn.Module):
    """The sum of a linear map and a non-linear one, whose last convolution starts at zero."""

    def __init__(self, linear: nn.Conv2d, other: list[nn.Module]) -> None:
        super().__init__()
        self.linear = linear
        self.other = nn.Sequential(*other)
        _zero(other[-1])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Add both up."""
        return self.linear(x) + self.other(x)


class Neck(nn.Module):
    """An encoder and a decoder.

    Args:
        source: shape of the tensor that crosses the cut.
        target: shape of the tensor whose place the decoder's output takes.
        form: sizes.

    Attributes:
        encoder: maps (B, *source) to the latent (B, C, h, w).
        decoder: maps the latent to (B, *target). Both take smaller maps too, in training.
        latent: (C, h, w).

    Raises:
        CodesignError: the source is not a power of two as large as the latent.
    """

    def __init__(self, source: Shape, target: Shape, form: NeckForm) -> None:
        super().__init__()
        self.source, self.target, self.form = source, target, form
        self.latent = form.latent(target)
        self.encoder = _encoder(source, self.latent, form)
        self.decoder = _Decoder(target, form)


class _Decoder(nn.Module):
    """Latent to map: at the latent's resolution, then shuffled to the map's, then refined there."""

    def __init__(self, target: Shape, form: NeckForm) -> None:
        super().__init__()
        channels, self._rows, self._columns = target
        whole = form.patch**2
        inner: list[nn.Module] = [nn.Conv2d(form.channels, form.decoder_width, 3, 1, 1)]
        inner += [Residual(form.decoder_width) for _ in range(form.decoder_depth)]
        inner += [nn.ReLU(), nn.Conv2d(form.decoder_width, channels * whole, 1)]
        self.expand = Beside(nn.Conv2d(form.channels, channels * whole, 1), inner)
        self.shuffle = nn.PixelShuffle(form.patch) if form.patch > 1 else nn.Identity()
        self.refine = nn.Sequential(*(Residual(channels) for _ in range(form.output_depth)))
        self.activation = nn.ReLU() if form.positive else nn.Identity()
        _, rows, columns = form.latent(target)
        # One place of the latent stands for rows and columns that the map may not have.
        self._crops = (rows * form.patch, columns * form.patch) != (self._rows, self._columns)

    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        """Compute the map for a latent of shape (B, C, h, w)."""
        x = self.shuffle(self.expand(latent))
        if self._crops:
            x = x[:, :, : self._rows, : self._columns]
        return self.activation(self.refine(x))


def _encoder(source: Shape, latent: Shape, form: NeckForm) -> Beside:
    channels, rows, columns = source
    for halvings in range(_MOST_HALVINGS + 1):
        factor = 2**halvings
        if (math.ceil(rows / factor), math.ceil(columns / factor)) == latent[1:]:
            break
    else:
        raise CodesignError(
            f"a neck halves maps: {rows}x{columns} does not become {latent[1]}x{latent[2]}; "
            "take another cut, or another --enter"
        )
    # Padded by one on each side at factor 1 and more where halves of odd sizes are rounded up.
    linear = nn.Conv2d(channels, form.channels, factor + 2, factor, 1)
    if (rows % factor, columns % factor) != (0, 0):
        linear = nn.Conv2d(channels, form.channels, 2 * factor + 1, factor, factor)
    inner: list[nn.Module] = []
    width = channels
    for _ in range(halvings):
        inner += [nn.Conv2d(width, form.encoder_width, 3, 2, 1), nn.ReLU()]
        width = form.encoder_width
    if not halvings:
        inner += [nn.Conv2d(width, form.encoder_width, 3, 1, 1), nn.ReLU()]
    inner += [Residual(form.encoder_width) for _ in range(form.encoder_depth)]
    inner.append(nn.Conv2d(form.encoder_width, form.channels, 3, 1, 1))
    return Beside(linear, inner)


def with_neck(network: Network, cut: int, enter: int, neck: Neck) -> Network:
    """Copy a network that is to be cut at ``cut`` with a neck there.

    Args:
        network: in any form.
        cut: what ends here is encoded; one tensor crosses.
        enter: where the decoder's output goes on; one tensor crosses, ``enter >= cut``.
        neck: its encoder and decoder.

    Returns:
        Segments ``1..cut``, ``neck`` (the encoder), ``neck.decoded`` (the decoder) and those behind
        ``enter``; what crosses its cut ``cut + 1`` is ``neck``. Modules are shared, not copied.

    Raises:
        CodesignError: more than one tensor crosses, or a segment has the neck's name.
    """
    source, target = (only_crossing(network, each) for each in (cut, enter))
    names = network.segment_names
    if taken_names := {NECK, DECODED}.intersection(names):
        raise CodesignError(
            f"the network has a segment named '{min(taken_names)}': it can get no neck"
        )
    parts = [Segment(names[i], network.segments[i], network.segment_inputs[i]) for i in range(cut)]
    parts += [Segment(NECK, neck.encoder, (source,)), Segment(DECODED, neck.decoder, (NECK,))]
    for i in range(enter, len(names)):
        taken = tuple(DECODED if each == target else each for each in network.segment_inputs[i])
        parts.append(Segment(names[i], network.segments[i], taken))
    return Network(parts, network.input_spec, network.output_names)


def only_crossing(network: Network, cut: int) -> str:
    """Name of the one tensor that crosses at a cut, a map (1, C, H, W).

    Raises:
        CodesignError: there is no such cut, or something else crosses.
    """
    crossing = network.crossing(cut)
    if cut == 0 or len(crossing) != 1 or len(crossing[0].shape) != 4:
        said = ", ".join(f"{spec.name} {spec.shape}" for spec in crossing)
        raise CodesignError(
            f"a neck needs a cut at which one map (1, C, H, W) crosses; at cut {cut} it is {said}"
        )
    return crossing[0].name


def form_of(args: Mapping[str, Any]) -> NeckForm:
    """Read the sizes from a bundle.

    Raises:
        CodesignError: a size is not known, not a number, or too small or large to be one.
    """
    known = {name: type(value) for name, value in vars(NeckForm()).items()}
    for name, value in args.items():
        if name not in known or type(value) is not known[name]:
            raise CodesignError(f"a neck has no {name!r} that is {value!r}")
        least = 0 if name.endswith("depth") else 1
        if not isinstance(value, bool) and not least <= value <= _MOST:
            raise CodesignError(f"a neck's {name} must be {least} to {_MOST}, not {value}")
    return NeckForm(**args)


_MOST = 1024
_MOST_HALVINGS = 5


def _zero(conv: nn.Module) -> nn.Module:
    for parameter in conv.parameters():
        nn.init.zeros_(parameter)
    return conv
