"""What the tail sees of a picture through a neck, at each of its rate levels, and without it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from codesign_ros.bundle import Bundle
from codesign_ros.models.network import IMAGE, Network
from codesign_ros.types.codec_names import NECK_CODECS
from codesign_ros.wire.neck.payload import dequantise, encode_codes, quantise


@dataclass(frozen=True, eq=False)
class NeckView:
    """One way to the tail.

    Attributes:
        cut: where the neck is.
        codec: its rate level; None = the tensors themselves.
        payload_bytes: what crosses for this picture [bytes].
        maps: float32 (channels, h, w) each, what the segments behind take, by its name.
        output: the network's output for it.
        error: root mean square of what the maps differ by from those without the neck, each as
            share of these.
    """

    cut: int
    codec: str | None
    payload_bytes: int
    maps: dict[str, np.ndarray]
    output: np.ndarray
    error: float


def neck_views(bundle: Bundle, network: Network, image: np.ndarray) -> list[NeckView]:
    """Send a picture through each neck of a bundle, first without it and then at each level.

    Args:
        bundle: has the necks, or has none.
        network: its trained network.
        image: float32 (1, 3, H, W), normalised.

    Raises:
        CodesignError: a neck is damaged, or its encoder makes no finite numbers of the picture.
    """
    views = []
    for info in bundle.necks:
        tables, neck = bundle.neck_tables(info.cut), bundle.neck_module(info.cut)
        own = bundle.network(info.cut)
        sources, targets = (
            [spec.name for spec in bundle.crossings[cut]] for cut in (info.cut, info.enter)
        )
        with torch.no_grad():
            crossing = network.run({IMAGE: torch.from_numpy(image)}, 0, info.cut, sources)
            plain = network.run(crossing, info.cut, info.enter, targets)
            size = sum(spec.nbytes for spec in bundle.crossings[info.cut])
            ways: list[tuple[str | None, int, dict[str, torch.Tensor]]] = [(None, size, plain)]
            latent = neck.encoder(*crossing.values()).numpy()
            for level, name in enumerate(NECK_CODECS[: info.levels]):
                codes = quantise(latent, tables, level)
                size = len(encode_codes(codes, tables, level))
                received = torch.from_numpy(dequantise(codes, tables, level))
                ways.append((name, size, dict(zip(targets, neck.decode(received), strict=True))))
            (output,) = network.output_names
            for codec, size, maps in ways:
                behind = network if codec is None else own
                said = behind.run(maps, info.enter, len(network.segments), [output])[output]
                arrays = {name: each[0].numpy() for name, each in maps.items()}
                error = math.sqrt(np.mean([_share_off(maps[n], plain[n]) for n in targets]))
                views.append(NeckView(info.cut, codec, size, arrays, said.numpy(), error))
    return views


def _share_off(found: torch.Tensor, right: torch.Tensor) -> float:
    """Squared error as share of the squares."""
    return float((found - right).square().mean() / right.square().mean().clamp(min=1e-30))
