"""RepVGG: plain stacks of re-parameterisable blocks.

Ding et al., "RepVGG: Making VGG-style ConvNets Great Again" (CVPR 2021), tables 2 and 3. Every
block is a segment of its own, so a network can be cut after each of them.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from codesign_ros.models.blocks import RepVGGBlock
from codesign_ros.models.network import Network
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.tensors import InputSpec

_BASE_WIDTHS = (64, 128, 256, 512)
_DEPTHS = {"A": (2, 4, 14, 1), "B": (4, 6, 16, 1)}
_MULTIPLIERS = {
    "A0": (0.75, 0.75, 0.75, 2.5),
    "A1": (1.0, 1.0, 1.0, 2.5),
    "A2": (1.5, 1.5, 1.5, 2.75),
    "B0": (1.0, 1.0, 1.0, 2.5),
    "B1": (2.0, 2.0, 2.0, 4.0),
    "B2": (2.5, 2.5, 2.5, 5.0),
    "B3": (3.0, 3.0, 3.0, 5.0),
}
_GROUPS = {"": 1, "g2": 2, "g4": 4}
NAMES = (*_MULTIPLIERS, *(f"B{i}g{g}" for i in (1, 2, 3) for g in (2, 4)))


def repvgg(name: str, classes: int, input: InputSpec) -> Network:
    """Make a published RepVGG: ``A0`` to ``A2``, ``B0`` to ``B3``, ``B1g2`` to ``B3g4``.

    Args:
        name: one of ``NAMES``. In the g2 and g4 variants every second block has that many groups.
        classes: number of logits.
        input: the published networks take 224 x 224; any size works.

    Returns:
        Segments ``stage0``, ``stage1.0`` ... ``stage4.0``, ``pool`` (global average) and
        ``logits``, whose output is (B, classes).

    Raises:
        CodesignError: ``name`` is not known.
    """
    if name not in NAMES:
        raise CodesignError(f"unknown RepVGG {name!r}; known are {', '.join(NAMES)}")
    multipliers = _MULTIPLIERS[name[:2]]
    widths = [int(b * m) for b, m in zip(_BASE_WIDTHS, multipliers, strict=True)]
    return _stack(
        stem=min(64, widths[0]),
        stages=[(w,) * depth for w, depth in zip(widths, _DEPTHS[name[0]], strict=True)],
        groups=_GROUPS[name[2:]],
        pool=nn.AdaptiveAvgPool2d(1),
        classes=classes,
        input=input,
    )


def mine_repvgg(classes: int, input: InputSpec) -> Network:
    """Make the small RepVGG for the mine's frames, about 0.7 billion multiply-adds at 640 x 400.

    The stages before the neck are narrow, so that the robot's half is light. The neck,
    ``stage3.0``, has so few channels that its 40 x 25 map is several times cheaper to send than the
    frame. Nearly all work comes after it. The pooling takes the maximum: one bare head anywhere in
    the frame decides its class, and an average would dilute it.

    Returns:
        Segments ``stage0``, ``stage1.0`` ... ``stage3.8``, ``pool`` and ``logits``, whose output
        is (B, classes).
    """
    return _stack(
        stem=8,
        stages=[(16,), (32, 32), (24, *(96,) * 8)],
        groups=1,
        pool=nn.AdaptiveMaxPool2d(1),
        classes=classes,
        input=input,
    )


def _stack(
    *,
    stem: int,
    stages: Sequence[Sequence[int]],
    groups: int,
    pool: nn.Module,
    classes: int,
    input: InputSpec,
) -> Network:
    """Stack blocks: a stem of stride 2, then stages that each begin with one.

    A stage is given as the number of channels of each of its blocks.
    """
    segments: list[tuple[str, nn.Module]] = [("stage0", RepVGGBlock(3, stem, stride=2))]
    channels = stem
    for stage, widths in enumerate(stages, start=1):
        for i, width in enumerate(widths):
            # Counted from the stem (0), the blocks with odd neighbours 2, 4, 6 ... have groups.
            block_groups = groups if len(segments) % 2 == 0 else 1
            stride = 2 if i == 0 else 1
            block = RepVGGBlock(channels, width, stride, block_groups)
            segments.append((f"stage{stage}.{i}", block))
            channels = width
    segments.append(("pool", nn.Sequential(pool, nn.Flatten())))
    segments.append(("logits", nn.Linear(channels, classes)))
    return Network(segments, input)
