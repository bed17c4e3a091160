"""Pictures as tensors, and classes from them."""

from __future__ import annotations

import numpy as np
import torch

from codesign_ros.models.network import Network
from codesign_ros.types.tensors import InputSpec


def to_input(images: np.ndarray, spec: InputSpec) -> torch.Tensor:
    """Normalise uint8 (B, h, w, 3) RGB views to float32 (B, 3, h, w), as `letterbox` does."""
    x = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().float()
    mean, std = (torch.tensor(v).reshape(1, 3, 1, 1) for v in (spec.mean, spec.std))
    return x.mul_(1 / (255 * std)).sub_(mean / std)


@torch.no_grad()
def classify(network: Network, images: np.ndarray, batch_frames: int = 16) -> np.ndarray:
    """Return the class of each frame.

    Args:
        network: in evaluation mode.
        images: uint8 (n, H, W, 3), RGB, letterboxed.
        batch_frames: how many run at once.

    Returns:
        (n,) int64.
    """
    starts = range(0, len(images), batch_frames)
    batches = (np.array(images[i : i + batch_frames]) for i in starts)
    logits = [network(to_input(batch, network.input_spec)) for batch in batches]
    return torch.cat(logits).argmax(1).numpy()
