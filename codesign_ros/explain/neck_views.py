"""What the tail sees of a picture through a neck, at each of its rate levels, and without it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from codesign_ros.bundle import Bundle
from codesign_ros.models.network import IMAGE, Network
from codesign_ros.types import NECK_CODECS
from codesign_ros.wire.neck.payload import dequantise, encode_codes, quantise


@dataclass(frozen=True, eq=False)
class NeckView:
    """One way to the tail.

    Attributes:
        cut: where the neck is.
        codec: its rate level; None = the tensors themselves.
        payload_bytes: what crosses for this picture [bytes].
        maps: float32 (channels, h, w), what the segments behind take.
        output: the network's output for it.
        error: root mean square of what the maps differ by from those without the neck, as share of
            these.
    """

    cut: int
    codec: str | None
    payload_bytes: int
    maps: np.ndarray
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
        (source,), (target,) = bundle.crossings[info.cut], bundle.crossings[info.enter]
        with torch.no_grad():
            crossing = network.run({IMAGE: torch.from_numpy(image)}, 0, info.cut, [source.name])[
                source.name
            ]
            direct = network.run({source.name: crossing}, info.cut, info.enter, [target.name])
            plain = direct[target.name].numpy()
            ways: list[tuple[str | None, int, np.ndarray]] = [(None, source.nbytes, plain)]
            latent = neck.encoder(crossing).numpy()
            for level, name in enumerate(NECK_CODECS[: info.levels]):
                codes = quantise(latent, tables, level)
                size = len(encode_codes(codes, tables, level))
                received = torch.from_numpy(dequantise(codes, tables, level))
                ways.append((name, size, neck.decoder(received).numpy()))
            for codec, size, maps in ways:
                output = _behind(network, target.name, maps, info.enter)
                error = float(np.sqrt(np.mean((maps - plain) ** 2)))
                error /= max(float(np.sqrt(np.mean(plain**2))), 1e-30)
                views.append(NeckView(info.cut, codec, size, maps[0], output, error))
    return views


def _behind(network: Network, name: str, maps: np.ndarray, enter: int) -> np.ndarray:
    """The network's only output for what crosses at ``enter``."""
    (output,) = network.output_names
    tensors = {name: torch.from_numpy(maps.copy())}
    return network.run(tensors, enter, len(network.segments), [output])[output].numpy()
