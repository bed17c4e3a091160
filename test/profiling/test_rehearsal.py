"""What is timed is what a node does, on real frames and what heads make of them."""

from dataclasses import replace

import numpy as np
import pytest

from codesign_ros.cost.accuracy_row import AccuracyRow
from codesign_ros.engines.base import EngineKey
from codesign_ros.engines.ort import OrtBackend
from codesign_ros.profiling import rehearsal
from codesign_ros.profiling.rehearsal import Rehearsal
from codesign_ros.runtime.answers import Answer
from codesign_ros.types.forms import Merge, Structure


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


FILM = AccuracyRow(Merge.FOLD, Structure.S3, Structure.S3, "fp32", "h264.23", 0, 0.8, unsent=0.9)


def test_video_is_rehearsed_where_what_it_loses_is_known(tiny_bundle, engine_cache):
    pytest.importorskip("av")
    table = replace(tiny_bundle.accuracy, rows=(*tiny_bundle.accuracy.rows, FILM))
    bundle = replace(tiny_bundle, accuracy=table)
    rehearsed = Rehearsal(Watched(bundle, cache_dir=engine_cache))
    encodings = rehearsed.encodings(0)
    (codec,) = (name for name in encodings if name.startswith("h264"))
    assert codec == "h264.23"
    video = encodings[codec]
    is_key = [bool(coded[0].data[0] & 16) for coded in video.frames]
    assert is_key == [number % 16 == 0 for number in range(32)]
    sizes = [coded[0].payload_bytes for coded in video.frames]
    counted = [size for size, key in zip(sizes, is_key, strict=True) if not key]
    assert video.mean_bytes == pytest.approx(np.mean(counted))
    assert video.spread_bytes == pytest.approx(np.std(counted, ddof=1))
    assert video.mean_bytes < 0.5 * sizes[0]
    # Round by round, group after group: each is read after the one before.
    decode = rehearsed.decoder(0, video.frames)
    for number in (*range(8), *range(8), *range(40)):
        assert decode(number).shape == bundle.crossings[0][0].shape
        video.work(number)
    assert not [name for name in rehearsed.encodings(3) if name.startswith("h264")]


def test_video_that_no_plan_may_have_loads_nothing(factory, monkeypatch):
    monkeypatch.setattr(rehearsal, "why_not", lambda writes: pytest.fail("PyAV was loaded"))
    assert not [name for name in Rehearsal(factory).encodings(0) if name.startswith("h264")]


@pytest.mark.parametrize("lacking", [True, False])
def test_a_machine_that_cannot_write_or_read_it_does_not_offer_it(
    tiny_bundle, lacking, monkeypatch
):
    table = replace(tiny_bundle.accuracy, rows=(FILM,))
    monkeypatch.setattr(rehearsal, "why_not", lambda writes: "no" if writes is lacking else "")
    assert rehearsal.video_codecs(replace(tiny_bundle, accuracy=table)) == ()


@pytest.mark.parametrize(("kept_bytes", "heads"), [(1e9, 1), (0, 3)])
def test_crossing_tensors_are_kept_within_bounds(factory, monkeypatch, kept_bytes, heads):
    monkeypatch.setattr(rehearsal, "_KEPT_BYTES", kept_bytes)
    rehearsed = Rehearsal(factory)
    for _ in range(3):
        rehearsed.half(EngineKey("tail", 3))
    assert sum(key.part == "head" for key in factory.built) == heads
