"""A neck with random weights for the tiny network, and a bundle that has it."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from codesign_ros.bundle import Bundle, write_neck
from codesign_ros.cost.accuracy_row import AccuracyRow
from codesign_ros.neck_file import NeckInfo
from codesign_ros.types.forms import Merge, Structure
from codesign_ros.wire.neck.tables import CodeTables, frequencies_of

LEVELS, LARGEST = 3, 15


def tiny_neck(bundle: Bundle, cut: int, enter: int, seed: int = 0, *, film: bool = False, **sizes):
    """The neck as `write_neck` takes it: what is said of it, its module, its tables.

    Those of a film say that nine in ten codes are what they were in the frame before.
    """
    import torch

    from codesign_ros.models.neck import Neck, NeckForm

    form = NeckForm(channels=6, encoder_width=5, decoder_width=7, **sizes)
    shapes = [[spec.shape[1:] for spec in bundle.crossings[each]] for each in (cut, enter)]
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        module = Neck(*shapes, form).eval()
        for parameter in module.parameters():
            parameter.normal_(0, 0.1)
    info = NeckInfo(cut, enter, module.latent, LEVELS, LARGEST, vars(form), "")
    rng = np.random.default_rng(seed)
    gains = rng.uniform(0.5, 8, (LEVELS, 6)).astype(np.float32)
    counts = rng.integers(0, 1000, (LEVELS, 6, 2 * LARGEST + 1))
    tables = CodeTables(gains, frequencies_of(counts), -LARGEST, module.latent)
    if film:
        share = counts / counts.sum(-1, keepdims=True)
        after = 0.1 * share[:, :, np.newaxis] + 0.9 * np.eye(2 * LARGEST + 1)
        tables = replace(tables, after=frequencies_of(after))
    return info, module, tables


def tiny_tail(bundle: Bundle, enter: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Other parameters for what is behind a neck, that float16 holds exactly, as `write_neck`."""
    from codesign_ros.models.own_tail import tail_of, tail_weights

    rng = np.random.default_rng(seed)
    weights = tail_weights(tail_of(bundle.network(), enter))
    return {
        name: (array * rng.uniform(0.8, 1.2, array.shape)).astype(np.float16)
        for name, array in weights.items()
    }


def write_tiny_neck(
    path: Path,
    bundle: Bundle,
    cut: int = 3,
    enter: int = 3,
    *,
    own_tail: bool = False,
    **more,
) -> Bundle:
    """Copy a bundle and give it a neck."""
    shutil.copytree(bundle.path, path)
    tail = tiny_tail(bundle, enter) if own_tail else None
    return write_neck(path, Bundle.open(path), *tiny_neck(bundle, cut, enter, **more), tail)


def with_losses(bundle: Bundle, cut: int, losses: tuple[float, ...] = (0.01, 0.02, 0.04)) -> Bundle:
    """Give a bundle accuracy rows of the neck at a cut, made up, in its own directory."""
    reference = bundle.accuracy.reference
    folded = Merge.FOLD, Structure.S3, Structure.S3, "fp32"
    rows = tuple(
        AccuracyRow(*folded, f"neck.{level}", cut, reference - loss)
        for level, loss in enumerate(losses)
    )
    bundle.replace_accuracy(replace(bundle.accuracy, rows=bundle.accuracy.rows + rows))
    return Bundle.open(bundle.path)
