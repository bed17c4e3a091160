"""What a device measures of itself, what it estimates beyond its budget, and what it keeps."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from codesign_ros.cost.half_times import Extent, HalfTimes
from codesign_ros.engines.base import EngineKey
from codesign_ros.engines.cache import FileCache
from codesign_ros.engines.factory import open_backend
from codesign_ros.pixels.letterbox import letterbox
from codesign_ros.profiling import profile as profiling
from codesign_ros.profiling import timer as stage_timer
from codesign_ros.profiling.profile import measure, profile_cached
from codesign_ros.profiling.timer import StageTimer
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import BRANCH_STRUCTURES, HalfForm
from codesign_ros.wire.codecs import codecs_for, encode
from support.tiny import tiny_frames

S3, S3_SS, S3_S1, FULL = BRANCH_STRUCTURES
INT8 = "int8-tensor"


@pytest.fixture
def factory(tiny_bundle, engine_cache):
    return open_backend(tiny_bundle, cache_dir=engine_cache)


@pytest.fixture
def one_run(monkeypatch):
    """Time everything once only."""
    monkeypatch.setattr(stage_timer, "_ROUNDS", 1)


# Really timed, once


@pytest.mark.parametrize("part", ["head", "tail"])
@pytest.mark.usefixtures("one_run")
def test_everything_is_there_and_positive(tiny_bundle, factory, part):
    last = len(tiny_bundle.segments)
    profile = measure(tiny_bundle, factory, part, Extent(budget_s=math.inf))
    assert profile.estimated == frozenset()
    forms = {HalfForm(cut, s) for cut in range(last + 1) for s in BRANCH_STRUCTURES}
    assert profile.half_s.keys() == forms
    for half, seconds in profile.half_s.items():
        is_empty = (part, half.cut) == ("tail", last)
        assert (seconds == 0) if is_empty else (0 < seconds < 10)
    keys = {
        (cut, codec)
        for cut in range(last)
        for spec in tiny_bundle.crossings[cut]
        for codec in codecs_for(spec)
    }
    assert set(profile.codec_s) == set(profile.codec_bytes) == keys
    assert min(profile.codec_s.values()) > 0


@pytest.mark.parametrize("part", ["head", "tail"])
@pytest.mark.usefixtures("one_run")
def test_chosen_cuts_structures_and_precisions_are_timed(tiny_bundle, factory, part):
    last = len(tiny_bundle.segments)
    extent = Extent((0, 2, last), (S3_S1,), (INT8,), math.inf)
    profile = measure(tiny_bundle, factory, part, extent)
    assert profile.half_s.keys() == {
        HalfForm(cut, structure, precision=precision)
        for cut in (0, 2, last)
        for structure in (S3, S3_S1)
        for precision in ("fp32", INT8)
    }
    assert profile.estimated == frozenset()
    assert {cut for cut, _ in profile.codec_s} == {0, 2}
    # A tail of nothing takes no time; a head of nothing still prepares the frame.
    assert (profile.half_s[HalfForm(last, S3_S1, precision=INT8)] == 0) == (part == "tail")
    assert profile.half_s[HalfForm(2, S3_S1, precision=INT8)] > 0


@pytest.mark.usefixtures("one_run")
def test_payloads_are_what_the_codecs_make(tiny_bundle, factory):
    timer = StageTimer(factory, "head")
    timer.time_codecs([0, 3])
    frames = tiny_bundle.calibration_frames()
    np.testing.assert_array_equal(frames, tiny_frames(4))
    for codec in ("raw", "raw+zstd", "jpeg"):
        sizes = [encode("image", frame, codec).payload_bytes for frame in frames]
        assert timer.codec_bytes[0, codec] == np.mean(sizes)
    (spec,) = tiny_bundle.crossings[3]
    channels = spec.shape[1]
    assert timer.codec_bytes[3, "fp16"] == 2 * spec.elements
    assert timer.codec_bytes[3, "uint8"] == spec.elements + 8 * channels


@pytest.mark.usefixtures("one_run")
def test_payloads_of_another_precision_are_what_the_codecs_make_of_its_heads(tiny_bundle, factory):
    """What was rounded to 256 levels is packed closer; no other codec's size goes by the values."""
    cuts = (2, 3)
    profile = measure(tiny_bundle, factory, "head", Extent(cuts, precisions=(INT8,), budget_s=0.0))
    image = {"image": letterbox(tiny_bundle.calibration_frames()[0], tiny_bundle.input)}
    assert {codec for _, codec, _ in profile.payload_scale} == {
        "raw+zstd", "fp16+zstd", "uint8+zstd", "uint4+zstd"
    }  # fmt: skip
    assert {(cut, precision) for cut, _, precision in profile.payload_scale} == {
        (cut, INT8) for cut in cuts
    }
    for cut, codec, precision in profile.payload_scale:
        sizes = []
        for each in ("fp32", precision):
            engine = factory.build(EngineKey("head", cut, precision=each))
            made = engine.run(image).items()
            sizes.append(sum(encode(name, array, codec).payload_bytes for name, array in made))
            engine.close()
        assert profile.payload_scale[cut, codec, precision] == sizes[1] / sizes[0]
    assert profile.payload_scale[3, "raw+zstd", INT8] < 0.8
    tail = measure(tiny_bundle, factory, "tail", Extent(cuts, precisions=(INT8,), budget_s=0.0))
    assert not tail.payload_scale


@pytest.mark.usefixtures("one_run")
def test_a_codec_that_cannot_express_the_values_is_left_out(tiny_bundle, factory, monkeypatch):
    build = factory.build

    def with_large_values(key):
        engine = build(key)
        working = engine.run
        if key.cut == 2:
            engine.run = lambda tensors: {n: a * 1e30 for n, a in working(tensors).items()}
        return engine

    monkeypatch.setattr(factory, "build", with_large_values)
    profile = measure(tiny_bundle, factory, "head", Extent(cuts=(2, 3), budget_s=0.0))
    assert (2, "fp16") not in profile.codec_s
    assert (2, "fp16+zstd") not in profile.codec_bytes
    assert {(2, "raw"), (2, "uint8"), (3, "fp16")} <= profile.codec_s.keys()


def test_a_precision_that_the_backend_has_not_is_refused(tiny_bundle, engine_cache):
    factory = open_backend(tiny_bundle, "torch", engine_cache)
    with pytest.raises(CodesignError, match="'int8-tensor' is not available on backend torch"):
        measure(tiny_bundle, factory, "tail", Extent(cuts=(14,), precisions=(INT8,)))


# Estimated, with times that are made up


class FakeTimer(StageTimer):
    """Times by a formula; each half takes one second of the clock."""

    def __init__(self, part, last, time_of, clock):
        self.codec_bytes, self.codec_spread, self.payload_scale = {}, {}, {}
        self._part, self._last, self._time_of, self._clock = part, last, time_of, clock
        self.timed = []

    def close(self):
        pass

    def __call__(self, factory, part, progress):
        self._progress, self._done = progress, 0
        return self

    def is_empty(self, cut):
        return cut == (0 if self._part == "head" else self._last)

    def groups(self, halves):
        return [[half] for half in halves if not self.is_empty(half.cut)]

    def time_halves(self, group):
        self._clock.now += len(group)
        self.timed += group
        self._advance(len(group))

    def time_codecs(self, cuts):
        self._advance(len(cuts))

    def results(self):
        return {half: self.net_s(half) for half in self.timed}, {}, 0.5

    def net_s(self, half):
        segments = half.cut if self._part == "head" else self._last - half.cut
        return segments * self._time_of(segments, half.structure, half.precision)


@pytest.fixture
def fake(tiny_bundle, monkeypatch):
    """Makes the timer for a part and a formula."""
    clock = SimpleNamespace(now=0.0, perf_counter=lambda: clock.now)
    for module in (profiling, stage_timer):
        monkeypatch.setattr(module, "time", clock)

    def make(part, time_of):
        timer = FakeTimer(part, len(tiny_bundle.segments), time_of, clock)
        monkeypatch.setattr(profiling, "StageTimer", timer)
        return timer

    return make


RATIO = dict(zip(BRANCH_STRUCTURES, (1.0, 1.5, 2.0, 3.0), strict=True))


@pytest.mark.parametrize("part", ["head", "tail"])
def test_beyond_the_budget_s3_and_whole_halves_are_timed_the_rest_scaled(tiny_bundle, fake, part):
    last = len(tiny_bundle.segments)
    fp32_s = {"fp32": 1.0, INT8: 0.25}
    timer = fake(part, lambda segments, structure, p: fp32_s[p] * RATIO[structure])
    profile = measure(tiny_bundle, None, part, Extent(precisions=(INT8,), budget_s=0.0))
    whole = last if part == "head" else 0
    for half, time_s in profile.half_s.items():
        is_longest = (half.cut, half.precision) == (whole, "fp32")
        always = half.structure is S3 or is_longest or timer.is_empty(half.cut)
        assert (half in profile.estimated) == (not always)
        # Preparing the frame is not scaled.
        assert time_s == pytest.approx(0.5 + timer.net_s(half))
    assert len(profile.half_s) == 2 * (last + 1) * len(BRANCH_STRUCTURES)


def test_the_nearest_timed_half_gives_the_scale(tiny_bundle, fake):
    """The budget ends after the three structures of the longest head but one, and one more."""
    last = len(tiny_bundle.segments)
    timer = fake("head", lambda segments, s, p: 1.0 if s is S3 else RATIO[s] + segments / 100)
    always = last + len(BRANCH_STRUCTURES) - 1
    profile = measure(tiny_bundle, None, "head", Extent(budget_s=always + 3.5))
    assert len(timer.timed) == always + 4
    for structure in (S3_SS, S3_S1, FULL):
        known = [half.cut for half in timer.timed if half.structure is structure]
        for cut in range(1, last + 1):
            segments = cut if cut in known else min(known)
            ratio = RATIO[structure] + segments / 100
            assert profile.half_s[HalfForm(cut, structure)] == pytest.approx(0.5 + cut * ratio)


def test_the_ratio_in_the_same_precision_goes_before_that_of_fp32(tiny_bundle, fake):
    last = len(tiny_bundle.segments)
    fake("head", lambda n, s, p: RATIO[s] if p == "fp32" else RATIO[s] ** 2)
    # All of fp32, S3 in int8, and of the other int8 halves that of the whole network.
    extent = Extent(structures=(FULL,), precisions=(INT8,), budget_s=3 * last + 0.5)
    profile = measure(tiny_bundle, None, "head", extent)
    first = HalfForm(1, FULL, precision=INT8)
    assert first._replace(cut=last) not in profile.estimated
    assert first in profile.estimated
    assert profile.half_s[first] == pytest.approx(0.5 + 9.0)


def test_progress_reaches_the_end(tiny_bundle, fake):
    fake("tail", lambda *_: 1.0)
    seen = []
    measure(tiny_bundle, None, "tail", Extent(), lambda done, total: seen.append((done, total)))
    done, totals = zip(*seen, strict=True)
    assert list(done) == sorted(done)
    assert len({*totals}) == 1
    assert done[-1] == totals[-1]


# Kept


@pytest.fixture
def measured(monkeypatch):
    """What was measured, instead of measuring."""
    calls = []

    def fake_measure(bundle, factory, part, extent, progress):
        calls.append((part, extent))
        halves = dict.fromkeys(extent.halves(bundle.last_cut), 0.5)
        scaled = {h for h in halves if h.structure is not S3 and extent.budget_s < math.inf}
        return HalfTimes(halves, frozenset(scaled))

    monkeypatch.setattr(profiling, "measure", fake_measure)
    return calls


def test_a_profile_is_measured_once(tiny_bundle, factory, tmp_path, measured):
    profiles = [profile_cached(tiny_bundle, factory, "head", tmp_path, Extent()) for _ in range(2)]
    assert profiles[0] == profiles[1]
    assert measured == [("head", Extent())]
    profile_cached(tiny_bundle, factory, "tail", tmp_path, Extent())
    threads = open_backend(tiny_bundle, cache_dir=tmp_path, threads=2)
    profile_cached(tiny_bundle, threads, "head", tmp_path, Extent())
    assert len(measured) == 3
    profile_cached(tiny_bundle, factory, "head", tmp_path, Extent(), fresh=True)
    assert len(measured) == 4
    # A damaged file counts as not there.
    for file in tmp_path.iterdir():
        file.write_bytes(file.read_bytes()[:-3])
        assert FileCache(tmp_path).get(file.name) is None
    assert profile_cached(tiny_bundle, factory, "head", tmp_path, Extent()) == profiles[0]
    assert len(measured) == 5


def test_what_is_missing_is_measured_and_added(tiny_bundle, factory, tmp_path, measured):
    def profile(**fields):
        return profile_cached(tiny_bundle, factory, "head", tmp_path, Extent(**fields))

    complete = profile(cuts=(0, 2, 4), budget_s=math.inf)
    assert profile(cuts=(2,)) == complete
    assert len(measured) == 1
    # Another precision: what was timed stays so.
    more = profile(cuts=(2,), precisions=(INT8,))
    int8 = {HalfForm(2, structure, precision=INT8) for structure in BRANCH_STRUCTURES}
    assert more.half_s == {**complete.half_s, **dict.fromkeys(int8, 0.5)}
    assert more.estimated == {half for half in int8 if half.structure is not S3}
    assert len(measured) == 2
    # Estimates will not do for somebody who wants all of it timed.
    assert profile(cuts=(2,), precisions=(INT8,), budget_s=math.inf).estimated == frozenset()
    assert len(measured) == 3
