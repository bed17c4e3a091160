"""Any network of convolutions as one of re-parameterisable blocks ("Rep-X" of the paper, Table II).

Every k x k convolution, plain, grouped or depthwise, gets a 1x1 and an identity branch beside it
(:class:`codesign_ros.models.blocks.ParallelConv`), each with its own BatchNorm, after Ding et al.,
"RepVGG" (CVPR 2021). The new branches start silent: the scale of their BatchNorm is 0 and is
learned. So a converted network gives the answers of the one that it was made from, until it is
trained.
"""

from __future__ import annotations

import copy
from collections import Counter

import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from codesign_ros.models.blocks import ConvBN, ParallelConv
from codesign_ros.types.errors import CodesignError, one_line

# Of the largest answer: the same sums, of which some are of zeros that were not there before.
_TOLERANCE = 1e-4


def convert(module: nn.Module, height: int = 224, width: int = 224) -> nn.Module:
    """Copy a network with its k x k convolutions as re-parameterisable blocks.

    A convolution is eligible if its kernel's sides are odd and not both 1, its padding is half of
    them (rounded down), and it has no dilation; stride and groups may be any. The BatchNorm behind
    it becomes that of the k x k branch; a convolution without one gets one that changes nothing
    yet. Convolutions that are called more than once in a pass, or never, stay as they are, and so
    do those of blocks that have branches already.

    Args:
        module: takes images (1, 3, height, width) float32; it is left as it is, and may lie on the
            ``meta`` device.
        height: of the image with which the network is run once, to see what follows what [px].
        width: of that image [px].

    Returns:
        A network of the same type in evaluation mode, with the same weights in the k x k branches.
        Every other convolution and the BatchNorm behind it are one ``ConvBN``, so that
        ``reparameterize`` fuses them.

    Raises:
        CodesignError: the network does not accept such an image, has no eligible convolution, or
            would answer otherwise when converted (not checked on the ``meta`` device).
    """
    converted = copy.deepcopy(module).eval()
    device = next(converted.parameters(), torch.empty(0)).device
    generator = torch.Generator("cpu").manual_seed(0)
    image = torch.randn(1, 3, height, width, generator=generator, device="cpu").to(device)
    calls, norms, expected = _observed(converted, image)
    paths = {part: path for path, part in converted.named_modules()}
    count = 0
    for conv, times in calls.items():
        norm = norms.get(conv)
        if times != 1:
            continue
        if _is_eligible(conv):
            count += 1
            part: nn.Module = _parallel(conv, _silent_norm(conv) if norm is None else _plain(norm))
        elif norm is not None:
            part = _JoinedConvBN(conv, _plain(norm))
        else:
            continue
        above = paths[conv].rpartition(".")[0]
        if isinstance(converted.get_submodule(above), ConvBN):
            _replace(converted, above, part)
            continue
        _replace(converted, paths[conv], part)
        if norm is not None:
            _replace(converted, paths[norm], _rest_of(norm))
    if not count:
        raise CodesignError(
            f"{type(module).__name__} has no convolution to re-parameterise: none has an odd "
            "kernel above 1x1 with padding of half of it and no dilation"
        )
    if device.type != "meta" and not _same(_answers(converted, image), expected):
        raise CodesignError(
            f"{type(module).__name__} cannot be converted: something beside the BatchNorm uses "
            "what a convolution makes, or its answers are random"
        )
    return converted


class _JoinedConvBN(ConvBN):
    """A convolution and a BatchNorm that are there already."""

    def __init__(self, conv: nn.Conv2d, bn: nn.BatchNorm2d) -> None:
        nn.Module.__init__(self)
        self.conv = conv
        self.bn = bn


def _observed(
    module: nn.Module, image: torch.Tensor
) -> tuple[Counter[nn.Conv2d], dict[nn.Conv2d, nn.BatchNorm2d], list[torch.Tensor]]:
    """Run the network once, and watch.

    Returns:
        How often each convolution is called; the BatchNorm behind it, where that is called once,
        with what the convolution made; and the network's answers.
    """
    calls: Counter[nn.Conv2d] = Counter()
    norm_calls: Counter[nn.BatchNorm2d] = Counter()
    # The tensors are held, so that no id is given out twice.
    made: dict[int, tuple[nn.Conv2d, torch.Tensor]] = {}
    pairs: dict[nn.Conv2d, nn.BatchNorm2d] = {}

    def after_conv(conv: nn.Conv2d, _: object, output: torch.Tensor) -> None:
        calls[conv] += 1
        made[id(output)] = conv, output

    def before_norm(norm: nn.BatchNorm2d, inputs: tuple[torch.Tensor, ...]) -> None:
        norm_calls[norm] += 1
        if id(inputs[0]) in made:
            pairs[made[id(inputs[0])][0]] = norm

    hooks: list[torch.utils.hooks.RemovableHandle] = []
    done = {
        conv for part in module.modules() if isinstance(part, ParallelConv)
        for conv in part.modules()
    }  # fmt: skip
    for part in module.modules():
        if type(part) is nn.Conv2d and part not in done:
            calls[part] = 0
            hooks.append(part.register_forward_hook(after_conv))
        elif isinstance(part, nn.BatchNorm2d) and _is_known(part):
            hooks.append(part.register_forward_pre_hook(before_norm))
    try:
        answers = _answers(module, image)
    except Exception as error:  # the code of others may raise anything
        height, width = image.shape[2:]
        reason = one_line(error)[:200]
        raise CodesignError(
            f"{type(module).__name__} does not accept an image of {height}x{width}: {reason}"
        ) from error
    for hook in hooks:
        hook.remove()
    return calls, {conv: norm for conv, norm in pairs.items() if norm_calls[norm] == 1}, answers


@torch.no_grad()
def _answers(module: nn.Module, image: torch.Tensor) -> list[torch.Tensor]:
    # A copy, since the module may change its input.
    made = tree_leaves(module(image.clone()))
    return [leaf for leaf in made if isinstance(leaf, torch.Tensor)]


def _same(ours: list[torch.Tensor], theirs: list[torch.Tensor]) -> bool:
    return len(ours) == len(theirs) and all(
        bool(((a - b).abs() <= _TOLERANCE * b.abs().max().clamp(min=1)).all())
        for a, b in zip(ours, theirs, strict=True)
    )


def _is_eligible(conv: nn.Conv2d) -> bool:
    sizes = conv.kernel_size
    return (
        max(sizes) > 1
        and all(size % 2 == 1 for size in sizes)
        and conv.padding == tuple(size // 2 for size in sizes)
        and conv.padding_mode == "zeros"
        and set(conv.dilation) == {1}
    )


def _parallel(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> ParallelConv:
    """Put the other branches beside a k x k convolution; their BatchNorm has the same settings."""
    rows, columns = conv.stride
    narrow = nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        1,
        (rows, columns),
        groups=conv.groups,
        bias=False,
        device=conv.weight.device,
        dtype=conv.weight.dtype,
    )
    has_identity = conv.in_channels == conv.out_channels and set(conv.stride) == {1}
    return ParallelConv(
        _JoinedConvBN(conv, norm),
        _JoinedConvBN(narrow, _silent(norm)),
        _silent(norm) if has_identity else None,
    ).eval()


def _silent(like: nn.BatchNorm2d) -> nn.BatchNorm2d:
    """A BatchNorm like another one, whose results are 0."""
    norm = _fresh(like)
    nn.init.zeros_(norm.weight)
    return norm


def _silent_norm(conv: nn.Conv2d) -> nn.BatchNorm2d:
    """A BatchNorm that changes nothing in evaluation mode, for a convolution that has none."""
    norm = nn.BatchNorm2d(conv.out_channels, device=conv.weight.device, dtype=conv.weight.dtype)
    assert norm.running_var is not None
    norm.running_var.fill_(1 - norm.eps)
    return norm.eval()


def _is_known(norm: nn.BatchNorm2d) -> bool:
    """Whether it is torch's own BatchNorm or timm's ``BatchNormAct2d``, with all its numbers.

    What another subclass does besides is not known.
    """
    is_known = type(norm) is nn.BatchNorm2d or (hasattr(norm, "act") and hasattr(norm, "drop"))
    return is_known and norm.affine and norm.track_running_stats


def _plain(norm: nn.BatchNorm2d) -> nn.BatchNorm2d:
    """The BatchNorm alone, with its numbers."""
    if type(norm) is nn.BatchNorm2d:
        return norm
    plain = _fresh(norm)
    plain.load_state_dict(norm.state_dict())
    return plain


def _rest_of(norm: nn.BatchNorm2d) -> nn.Module:
    """What stays in the BatchNorm's place: timm's has an activation behind it."""
    if type(norm) is nn.BatchNorm2d:
        return nn.Identity()
    return nn.Sequential(norm.get_submodule("drop"), norm.get_submodule("act"))


def _fresh(like: nn.BatchNorm2d) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(
        like.num_features,
        like.eps,
        like.momentum,
        device=like.weight.device,
        dtype=like.weight.dtype,
    ).eval()


def _replace(module: nn.Module, path: str, part: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(module.get_submodule(parent), name, part)
