"""What is timed is what a node does, on real frames and what heads make of them."""

import numpy as np
import pytest

from codesign_ros.engines.base import EngineKey
from codesign_ros.engines.ort import OrtBackend
from codesign_ros.profiling import rehearsal
from codesign_ros.profiling.rehearsal import Rehearsal
from codesign_ros.runtime.answers import Answer


class Watched(OrtBackend):
    """Notes what is built and what the engines are given."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.built, self.given = [], []

    def build(self, key):
        self.built.append(key)
        engine = super().build(key)
        run = engine.run

        def noted(tensors):
            self.given.append((key.part, tensors))
            return run(tensors)

        engine.run = noted
        return engine


@pytest.fixture
def factory(tiny_bundle, engine_cache):
    return Watched(tiny_bundle, cache_dir=engine_cache)


def test_a_frame_is_prepared_from_a_jpeg(tiny_bundle, factory):
    prepared = Rehearsal(factory).prepare(5)
    # The second of four frames, through a JPEG.
    frame = tiny_bundle.calibration_frames()[1].astype(float)
    assert np.abs(prepared - frame).mean() < 5


def test_a_head_gets_the_frames_in_turn(tiny_bundle, factory):
    work = Rehearsal(factory).half(EngineKey("head", 2))
    outputs = [work(number) for number in (0, 1, 4)]
    frames = tiny_bundle.calibration_frames()
    for (_, given), number in zip(factory.given, (0, 1, 0), strict=True):
        np.testing.assert_array_equal(given["image"], frames[number])
    ((name, array),) = outputs[0].items()
    np.testing.assert_array_equal(array, outputs[2][name])
    assert (array != outputs[1][name]).any()


def test_a_tail_gets_what_the_head_makes(tiny_bundle, factory):
    rehearsed = Rehearsal(factory)
    head = rehearsed.half(EngineKey("head", 3))
    tail = rehearsed.half(EngineKey("tail", 3))
    made = [head(number) for number in range(2)]
    factory.given.clear()
    assert isinstance(tail(1), Answer)
    ((part, given),) = factory.given
    assert part == "tail"
    for name, array in made[1].items():
        np.testing.assert_array_equal(given[name], array)
        assert (array != made[0][name]).any()


@pytest.mark.parametrize("key", [EngineKey("head", 15), EngineKey("tail", 0)])
def test_whoever_runs_the_last_segment_answers(factory, key):
    assert isinstance(Rehearsal(factory).half(key)(0), Answer)


def test_what_is_decoded_was_encoded(tiny_bundle, factory):
    rehearsed = Rehearsal(factory)
    encodings = rehearsed.encodings(3)
    decoded = rehearsed.decoder(3, encodings["raw"].frames)(2)
    head = rehearsed.half(EngineKey("head", 3))
    for array, spec in zip(decoded, tiny_bundle.crossings[3], strict=True):
        np.testing.assert_array_equal(array, head(2)[spec.name])
    zstd = encodings["uint8+zstd"]
    sizes = [sum(e.payload_bytes for e in zstd.work(number)) for number in range(4)]
    assert zstd.mean_bytes == np.mean(sizes)


@pytest.mark.parametrize(("kept_bytes", "heads"), [(1e9, 1), (0, 3)])
def test_crossing_tensors_are_kept_within_bounds(factory, monkeypatch, kept_bytes, heads):
    monkeypatch.setattr(rehearsal, "_KEPT_BYTES", kept_bytes)
    rehearsed = Rehearsal(factory)
    for _ in range(3):
        rehearsed.half(EngineKey("tail", 3))
    assert sum(key.part == "head" for key in factory.built) == heads
