"""What codes of a neck are after those of the frame before, counted on a film."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from codesign_ros.data.sources import FolderSource, LabelledSource, MineSource, open_source
from codesign_ros.pixels.decode import ImageError
from codesign_ros.pixels.letterbox import letterbox
from codesign_ros.training.neck.measure import latent_of
from codesign_ros.training.neck.options import NeckOptions
from codesign_ros.training.neck.rate import RatedNeck
from codesign_ros.training.neck.teacher import Teacher
from codesign_ros.training.tensors import to_input
from codesign_ros.types.tensors import InputSpec
from codesign_ros.wire.neck.payload import quantise
from codesign_ros.wire.neck.tables import CodeTables, frequencies_after

_FRAMES = 200
_LEAST_FRAMES = 20
# Of the generated film; answers that come a frame or two late are as of a slower one.
_MINE_FPS = 10.0
# Codes of the frame before are told apart up to this.
_MOST = 4


def film_frames(options: NeckOptions, spec: InputSpec) -> Iterator[np.ndarray]:
    """Yield frames that follow each other, uint8 (H, W, 3) RGB, letterboxed; none of pictures.

    Raises:
        CodesignError: the source cannot be read.
    """
    source = open_source(options.data, topic=options.topic, seed=options.seed, fps=_MINE_FPS)
    if isinstance(source, FolderSource | LabelledSource):
        return
    if isinstance(source, MineSource) and source.independent:
        return
    for frame in itertools.islice(source, _FRAMES):
        try:
            rgb = frame.rgb()
        except ImageError:  # said already, as pictures were taken from there
            continue
        yield letterbox(rgb, spec)


@torch.no_grad()
def with_film(
    tables: CodeTables, rated: RatedNeck, teacher: Teacher, frames: Iterator[np.ndarray]
) -> CodeTables:
    """Add to tables what codes are after those of the frame before.

    Args:
        tables: of the neck.
        rated: the neck.
        teacher: its network.
        frames: of a film, uint8 (H, W, 3) RGB, letterboxed; with too few of them the tables stay.
    """
    device = next(rated.parameters()).device
    spec = teacher.network.input_spec
    latents = []
    for frame in frames:
        x = to_input(frame[np.newaxis], spec).to(device, memory_format=torch.channels_last)
        latents.append(latent_of(rated, teacher.ends(x)[0]))
    if len(latents) < _LEAST_FRAMES:
        return tables
    after = []
    for level in range(tables.levels):
        codes = np.stack([quantise(latent, tables, level) for latent in latents]).astype(np.int64)
        own = tables.frequencies[level]
        after.append(frequencies_after(codes[:-1], codes[1:], own, tables.low, _MOST))
    return replace(tables, after=np.stack(after))
