"""The accuracy table against the same network in torch."""

import numpy as np
import pytest
import torch
from conftest import TINY_INPUT, tiny_frames, tiny_network

from codesign_ros.cost.accuracy import AccuracyTable
from codesign_ros.evaluation.accuracy_table import FORMS, LOSSY_CODECS, measure_accuracy
from codesign_ros.models.reparam import reparameterize
from codesign_ros.models.split import split
from codesign_ros.preprocess import normalise
from codesign_ros.types import Merge, Structure

COUNT = 10


@pytest.fixture(scope="module")
def network():
    return tiny_network(seed=3)


@pytest.fixture(scope="module")
def images():
    return tiny_frames(COUNT, seed=8)


@pytest.fixture(scope="module")
def x(images):
    stacked = np.concatenate([normalise(image, TINY_INPUT) for image in images])
    return torch.from_numpy(stacked)


@pytest.fixture(scope="module")
def labels(network, x):
    """The network's own answers, a few of them changed: its accuracy is 0.8."""
    with torch.no_grad():
        own = network(x).argmax(1).numpy()
    own[:2] = (own[:2] + 1) % 3
    return own


@pytest.fixture(scope="module")
def progress():
    return []


@pytest.fixture(scope="module")
def table(network, images, labels, progress):
    return measure_accuracy(
        network, images, labels, data="noise", progress=lambda *state: progress.append(state)
    )


def value(table, **wanted):
    (row,) = [r for r in table.rows if all(getattr(r, k) == v for k, v in wanted.items())]
    assert row.precision == "fp32"
    return row.value


@torch.no_grad()
def test_forms(table, network, x, labels):
    assert table.reference == 0.8
    for structure, merge in FORMS:
        answers = reparameterize(network, structure, merge)(x).argmax(1).numpy()
        measured = value(
            table, merge=merge, head_structure=structure, tail_structure=structure, cut=None
        )
        assert measured == np.mean(answers == labels)
        if merge is Merge.FOLD:
            assert measured == table.reference


@torch.no_grad()
def test_a_codec_at_a_cut(table, network, x, labels):
    cut = 5
    head, tail = split(reparameterize(network, Structure.S3, Merge.FOLD), cut)
    (spec,) = head.outputs
    crossing = head({"image": x})[spec.name].numpy()
    # uint4 by hand: 16 levels between the least and the greatest value of each channel.
    low = crossing.min(axis=(2, 3), keepdims=True)
    step = np.maximum((crossing.max(axis=(2, 3), keepdims=True) - low) / 15, 1e-30)
    received = (low + step * np.round((crossing - low) / step)).astype(np.float32)
    (logits,) = tail({spec.name: torch.from_numpy(received)}).values()
    expected = np.mean(logits.argmax(1).numpy() == labels)
    assert value(table, cut=cut, codec="uint4") == expected
    assert value(table, cut=cut, codec="uint4+zstd") == expected


def test_rows_cover_every_cut(table, network):
    last = len(network.segment_names)
    coded = {(r.cut, r.codec) for r in table.rows if r.cut is not None}
    between = {
        (cut, codec + then)
        for cut in range(1, last)
        for codec in LOSSY_CODECS
        for then in ("", "+zstd")
    }
    assert coded == between | {(0, "jpeg")}
    assert all(0 <= r.value <= 1 for r in table.rows)
    assert value(table, cut=1, codec="fp16") == table.reference


def test_text_and_progress(table, progress):
    assert AccuracyTable.from_json(table.to_json()) == table
    assert table.data == "noise"
    done = [state[0] for state in progress]
    assert done == sorted(done)
    assert progress[-1][0] == progress[-1][1]
