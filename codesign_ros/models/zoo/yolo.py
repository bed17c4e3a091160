"""A one-stage detector on the paper's dynamic backbone (Table VI).

The backbone is Table VI to the letter. Neck and head are in the style of YOLOv8, written from the
papers: a path aggregation network (Liu et al., PANet, CVPR 2018) of cross-stage partial blocks that
keep every intermediate map (Wang et al., CSPNet, CVPRW 2020; ELAN, arXiv 2211.04800), and a
decoupled, anchor-free head (Ge et al., YOLOX, arXiv 2107.08430; Tian et al., FCOS, ICCV 2019) whose
box sides are distributions (Li et al., Generalized Focal Loss, NeurIPS 2020).

The activation is ReLU throughout, as in the RepBlock of Fig. 2; YOLOv8 has SiLU outside of it. ReLU
needs no exponential on a CPU and quantises without loss.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from codesign_ros.models.blocks import ConvBN, RepVGGBlock
from codesign_ros.models.detection import DecodeBoxes, DetectionHead
from codesign_ros.models.network import Network, Segment
from codesign_ros.types.errors import CodesignError, did_you_mean
from codesign_ros.types.tensors import InputSpec

# Table VI: channels of the stem and of the four stages, and RepBlocks in each stage.
_CHANNELS = (16, 32, 64, 128, 256)
_BLOCKS = (3, 6, 6, 3)
# Width of the variants as a multiple of Table VI's channels. Those are a quarter of what the YOLOv8
# papers and code call the full width, like "n"; "s" has half.
WIDTHS = {"nano": 1.0, "small": 2.0}

RAW, BOXES = "detect", "boxes"
"""Names of the last two segments: what the head says, and the boxes and scores worked out of it."""


def yolo(
    classes: int,
    input: InputSpec,
    variant: str = "nano",
    depth: float = 1.0,
    reg_max: int = 16,
) -> Network:
    """Make a detector.

    Args:
        classes: number of classes C.
        input: any size; each side counts in strides of 32, rounded up.
        variant: ``nano`` has the channels of Table VI, ``small`` twice as many.
        depth: multiplies the number of RepBlocks of each stage (at least one stays).
        reg_max: bins of each box side's distribution. A side can be at most ``reg_max - 1``
            strides away from its anchor: at stride 32 and 16 bins 480 pixels.

    Returns:
        Segments ``conv0``, ``conv1``, ``rep2.0`` ... ``rep8.2``, ``sppf9`` (indices of Table VI),
        ``detect`` (neck and head) with output (B, 4 * reg_max + C, anchors) and ``boxes`` with
        output (B, 4 + C, anchors): x_min, y_min, x_max, y_max in input pixels, then probabilities.

    Raises:
        CodesignError: ``variant`` is not known or a number is too small.
    """
    if variant not in WIDTHS:
        near = did_you_mean(variant, WIDTHS)
        raise CodesignError(f"unknown variant {variant!r}{near}; known are {', '.join(WIDTHS)}")
    if classes < 1 or reg_max < 2 or not depth > 0:
        raise CodesignError(
            f"a detector needs at least 1 class, 2 bins and a depth above 0, "
            f"not {classes}, {reg_max} and {depth}"
        )
    channels = [round(WIDTHS[variant] * c) for c in _CHANNELS]
    blocks = [max(1, round(depth * n)) for n in _BLOCKS]

    segments: list[Segment] = [Segment("conv0", conv(3, channels[0], 3, 2))]
    ends: list[str] = []
    for stage, count in enumerate(blocks):
        index, width = 2 * stage + 1, channels[stage + 1]
        segments.append(Segment(f"conv{index}", conv(channels[stage], width, 3, 2)))
        segments += [
            Segment(f"rep{index + 1}.{i}", RepVGGBlock(width, width)) for i in range(count)
        ]
        ends.append(segments[-1].name)
    segments.append(Segment("sppf9", SPPF(channels[4], channels[4])))

    levels = (ends[1], ends[2], "sppf9")
    detector = _NeckAndHead(channels[2:], classes, reg_max, max(1, round(depth)))
    segments.append(Segment(RAW, detector, levels))
    segments.append(Segment(BOXES, DecodeBoxes(input, classes, reg_max)))
    return Network(segments, input)


def conv(in_channels: int, out_channels: int, kernel: int = 1, stride: int = 1) -> nn.Sequential:
    """Make convolution, BatchNorm and ReLU."""
    return nn.Sequential(ConvBN(in_channels, out_channels, kernel, stride, groups=1), nn.ReLU())


class SPPF(nn.Module):
    """Spatial pyramid pooling, "fast": three 5x5 maxima in a row see 5, 9 and 13 pixels.

    After He et al., "Spatial Pyramid Pooling in Deep Convolutional Networks" (ECCV 2014).
    Maps (B, in_channels, H, W) to (B, out_channels, H, W).
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        middle = in_channels // 2
        self.squeeze = conv(in_channels, middle)
        self.pool = nn.MaxPool2d(5, stride=1, padding=2)
        self.merge = conv(4 * middle, out_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the block."""
        maps = [self.squeeze(x)]
        for _ in range(3):
            maps.append(self.pool(maps[-1]))
        return self.merge(torch.cat(maps, 1))


class _Partial(nn.Module):
    """Half of the channels go through ``depth`` pairs of 3x3 convolutions; all maps are merged."""

    def __init__(self, in_channels: int, out_channels: int, depth: int) -> None:
        super().__init__()
        self.width = out_channels // 2
        self.split = conv(in_channels, 2 * self.width)
        self.steps = nn.ModuleList(
            nn.Sequential(conv(self.width, self.width, 3), conv(self.width, self.width, 3))
            for _ in range(depth)
        )
        self.merge = conv((2 + depth) * self.width, out_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maps = list(self.split(x).split(self.width, 1))
        for step in self.steps:
            maps.append(step(maps[-1]))
        return self.merge(torch.cat(maps, 1))


class _NeckAndHead(nn.Module):
    """PAN-FPN over the maps at strides 8, 16 and 32, and the head on its three results."""

    def __init__(self, channels: list[int], classes: int, reg_max: int, depth: int) -> None:
        super().__init__()
        c3, c4, c5 = channels
        self.top_down_4 = _Partial(c5 + c4, c4, depth)
        self.top_down_3 = _Partial(c4 + c3, c3, depth)
        self.down_3 = conv(c3, c3, 3, 2)
        self.bottom_up_4 = _Partial(c3 + c4, c4, depth)
        self.down_4 = conv(c4, c4, 3, 2)
        self.bottom_up_5 = _Partial(c4 + c5, c5, depth)
        self.head = DetectionHead(channels, classes, reg_max)

    def forward(self, p3: torch.Tensor, p4: torch.Tensor, p5: torch.Tensor) -> torch.Tensor:
        """Return (B, 4 * reg_max + C, anchors)."""
        n4 = self.top_down_4(torch.cat([_resized(p5, p4), p4], 1))
        n3 = self.top_down_3(torch.cat([_resized(n4, p3), p3], 1))
        n4 = self.bottom_up_4(torch.cat([self.down_3(n3), n4], 1))
        n5 = self.bottom_up_5(torch.cat([self.down_4(n4), p5], 1))
        return self.head([n3, n4, n5])


def _resized(x: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Enlarge ``x``; by its size and not by 2, since 400 pixels make maps of 25 and 13 rows."""
    return F.interpolate(x, size=like.shape[-2:], mode="nearest")
