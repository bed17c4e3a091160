"""A neck: an encoder behind the head and a decoder before the tail, so that few bytes cross a cut.

After Yuan et al., "Feature Compression for Rate Constrained Object Detection on the Edge" (MIPR
2022), Matsubara et al., "BottleFit" (WoWMoM 2022) and Furutanpey et al., "FrankenSplit" (TMC 2024):
the network's own weights stay, and the decoder's output takes the place of a tensor that the tail
expects. Encoder and decoder are each a linear map, which has a start in closed form, with a
non-linear one beside it that starts at zero. Where several maps cross, as those of a detector's
backbone at strides 8, 16 and 32, each has its encoder and its decoder: the encoders bring theirs to
one grid and their sum is the one latent, of which every decoder makes its map.

What the encoder makes, the latent, is float32. Gains, rounding and entropy coding belong to the
codec, so that its level can change with every frame: Cui et al., "Asymmetric Gained Deep Image
Compression with Continuous Rate Adaptation" (CVPR 2021).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from codesign_ros.models.network import Network, Segment
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.tensors import NECK

DECODED = "neck.decoded"
"""Name of the segment that a decoder is in a network with a neck; see ``decoded_names``."""

Shape = tuple[int, ...]
"""Channels, rows and columns of a map."""


@dataclass(frozen=True)
class NeckForm:
    """The sizes of an encoder and a decoder.

    Attributes:
        channels: C of the latent.
        patch: rows and columns of the smallest decoded map that one place of the latent stands
            for; larger maps have as many times more as they are larger.
        encoder_width: channels inside the encoder.
        encoder_depth: residual blocks inside it, at the latent's resolution.
        decoder_width: channels inside the decoder, at the latent's resolution.
        decoder_depth: residual blocks there.
        output_depth: residual blocks at the decoded map's resolution.
        positive: whether the decoded maps have no negative numbers, as behind a ReLU.
    """

    channels: int = 32
    patch: int = 2
    encoder_width: int = 64
    encoder_depth: int = 0
    decoder_width: int = 96
    decoder_depth: int = 1
    output_depth: int = 1
    positive: bool = True

    def latent(self, targets: Sequence[Shape]) -> Shape:
        """Shape of the latent for decoded maps."""
        rows, columns = _smallest(targets)
        return self.channels, math.ceil(rows / self.patch), math.ceil(columns / self.patch)

    def patches(self, targets: Sequence[Shape]) -> list[int]:
        """For each decoded map, how many rows and columns one place of the latent stands for.

        Raises:
            CodesignError: a map is not a power of two as large as the smallest.
        """
        least = _smallest(targets)
        return [self.patch * 2 ** _halvings(target[1:], least) for target in targets]


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
    """An encoder and a decoder for each map that crosses.

    Args:
        sources: shapes of the maps that cross the cut.
        targets: shapes of the maps whose place the decoders' output takes.
        form: sizes.

    Attributes:
        encoder: maps the sources, each (B, C_i, H_i, W_i), to the latent (B, C, h, w).
        decoders: each maps the latent to its target. All take smaller maps too, in training.
        latent: (C, h, w).

    Raises:
        CodesignError: a source is not a power of two as large as the latent, or a target not as the
            smallest of them.
    """

    def __init__(self, sources: Sequence[Shape], targets: Sequence[Shape], form: NeckForm) -> None:
        super().__init__()
        self.form = form
        self.latent = form.latent(targets)
        encoders = [_encoder(source, self.latent, form) for source in sources]
        decoders = [
            _Decoder(target, patch, form)
            for target, patch in zip(targets, form.patches(targets), strict=True)
        ]
        # The names of the weights of one alone have no number; tuples name nothing again.
        self.encoder = encoders[0] if len(encoders) == 1 else _Sum(encoders)
        self.decoder = decoders[0] if len(decoders) == 1 else nn.ModuleList(decoders)
        self.encoders, self.decoders = tuple(encoders), tuple(decoders)

    def decode(self, latent: torch.Tensor) -> list[torch.Tensor]:
        """Make all maps of a latent (B, C, h, w)."""
        return [decoder(latent) for decoder in self.decoders]


class _Sum(nn.ModuleList):
    """The sum of what each module makes of its own map."""

    def forward(self, *maps: torch.Tensor) -> torch.Tensor:
        first, *others = (module(x) for module, x in zip(self, maps, strict=True))
        return sum(others, start=first)


class _Decoder(nn.Module):
    """Latent to map: at the latent's resolution, then shuffled to the map's, then refined there."""

    def __init__(self, target: Shape, patch: int, form: NeckForm) -> None:
        super().__init__()
        self.patch = patch
        channels, self._rows, self._columns = target
        whole = patch**2
        inner: list[nn.Module] = [nn.Conv2d(form.channels, form.decoder_width, 3, 1, 1)]
        inner += [Residual(form.decoder_width) for _ in range(form.decoder_depth)]
        inner += [nn.ReLU(), nn.Conv2d(form.decoder_width, channels * whole, 1)]
        self.expand = Beside(nn.Conv2d(form.channels, channels * whole, 1), inner)
        self.shuffle = nn.PixelShuffle(patch) if patch > 1 else nn.Identity()
        self.refine = nn.Sequential(*(Residual(channels) for _ in range(form.output_depth)))
        self.activation = nn.ReLU() if form.positive else nn.Identity()
        # One place of the latent stands for rows and columns that the map may not have.
        self._crops = (self._rows % patch, self._columns % patch) != (0, 0)

    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        """Compute the map for a latent of shape (B, C, h, w)."""
        x = self.shuffle(self.expand(latent))
        if self._crops:
            x = x[:, :, : self._rows, : self._columns]
        return self.activation(self.refine(x))


def _encoder(source: Shape, latent: Shape, form: NeckForm) -> Beside:
    channels, rows, columns = source
    halvings = _halvings(source[1:], latent[1:])
    factor = 2**halvings
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


def least_patch(sources: Sequence[Shape], targets: Sequence[Shape]) -> int:
    """The least ``NeckForm.patch`` with which the latent has the grid of the smallest map.

    Raises:
        CodesignError: the smallest target is not a power of two as large as the smallest source.
    """
    return 2 ** _halvings(_smallest(targets), _smallest([*sources, *targets]))


def _halvings(sides: Shape, smaller: Shape) -> int:
    """How often rows and columns are halved until they are these."""
    rows, columns = sides
    for halvings in range(_MOST_HALVINGS + 1):
        factor = 2**halvings
        if (math.ceil(rows / factor), math.ceil(columns / factor)) == smaller:
            return halvings
    raise CodesignError(
        f"a neck halves maps: {rows}x{columns} does not become {smaller[0]}x{smaller[1]}; "
        "take another cut, or another --enter"
    )


def _smallest(maps: Sequence[Shape]) -> Shape:
    """Rows and columns of the smallest of maps."""
    return min(rows for _, rows, _ in maps), min(columns for _, _, columns in maps)


def with_neck(network: Network, cut: int, enter: int, neck: Neck) -> Network:
    """Copy a network that is to be cut at ``cut`` with a neck there.

    Args:
        network: in any form.
        cut: what ends here is encoded; maps cross.
        enter: where the decoders' output goes on; maps cross, ``enter >= cut``.
        neck: its encoder and decoders.

    Returns:
        Segments ``1..cut``, ``neck`` (the encoder), ``decoded_names`` (the decoders) and those
        behind ``enter``; what crosses its cut ``cut + 1`` is ``neck``. Modules are shared, not
        copied.

    Raises:
        CodesignError: something else than maps crosses, or a segment has the neck's name.
    """
    sources, targets = (crossing_maps(network, each) for each in (cut, enter))
    made = dict(zip(targets, decoded_names(len(targets)), strict=True))
    names = network.segment_names
    if taken_names := {NECK, *made.values()}.intersection(names):
        raise CodesignError(
            f"the network has a segment named '{min(taken_names)}': it can get no neck"
        )
    parts = [Segment(names[i], network.segments[i], network.segment_inputs[i]) for i in range(cut)]
    parts.append(Segment(NECK, neck.encoder, tuple(sources)))
    parts += [
        Segment(name, decoder, (NECK,))
        for name, decoder in zip(made.values(), neck.decoders, strict=True)
    ]
    for i in range(enter, len(names)):
        taken = tuple(made.get(each, each) for each in network.segment_inputs[i])
        parts.append(Segment(names[i], network.segments[i], taken))
    return Network(parts, network.input_spec, network.output_names)


def decoded_names(count: int) -> list[str]:
    """Names of the segments that so many decoders are."""
    return [DECODED] if count == 1 else [f"{DECODED}.{number}" for number in range(count)]


def crossing_maps(network: Network, cut: int) -> list[str]:
    """Names of the tensors that cross at a cut, all of them maps (1, C, H, W).

    Raises:
        CodesignError: there is no such cut, something else crosses, or an answer of the network
            does.
    """
    crossing = network.crossing(cut)
    said = ", ".join(f"{spec.name} {spec.shape}" for spec in crossing)
    if cut == 0 or any(len(spec.shape) != 4 for spec in crossing):
        raise CodesignError(
            f"a neck needs a cut at which maps (1, C, H, W) alone cross; at cut {cut} it is {said}"
        )
    names = [spec.name for spec in crossing]
    if answers := [name for name in names if name in network.output_names]:
        raise CodesignError(
            f"a neck needs a cut that no answer of the network crosses; '{answers[0]}' crosses "
            f"cut {cut}"
        )
    return names


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
