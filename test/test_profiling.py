"""What a device measures of itself, what it estimates beyond its budget, and what it keeps."""

from types import SimpleNamespace

import numpy as np
import pytest
from conftest import tiny_frames

from codesign_ros.engines.cache import FileCache
from codesign_ros.engines.factory import EngineFactory
from codesign_ros.runtime import profiling
from codesign_ros.runtime.profiling import StageProfile, measure, profile_cached
from codesign_ros.types import Structure
from codesign_ros.wire.codecs import codecs_for, encode

S3, S3_SS = Structure.S3, Structure.S3_SS

PROFILE = StageProfile(
    stage_s={(0, S3): 0.125, (3, S3_SS): 0.5},
    estimated=frozenset({(3, S3_SS)}),
    codec_s={(0, "jpeg"): 0.25},
    codec_bytes={(0, "jpeg"): 1234.5},
    precision_s={(3, "int8-tensor"): 0.0625},
)


@pytest.fixture
def factory(tiny_bundle, engine_cache):
    return EngineFactory(tiny_bundle, cache_dir=engine_cache)


@pytest.fixture
def one_run(monkeypatch):
    """Time everything once only."""
    monkeypatch.setattr(profiling, "_RUNS", 1)


def test_a_profile_survives_being_written():
    assert StageProfile.from_json(PROFILE.to_json()) == PROFILE


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "3",
        '{"stage_s": 3, "estimated": [], "codec_s": [], "codec_bytes": []}',
        PROFILE.to_json().replace('"S3"', '"S9"'),
        PROFILE.to_json()[:-5],
    ],
)
def test_what_is_no_profile_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        StageProfile.from_json(text)


@pytest.mark.parametrize(("slowdown", "factor"), [(0.0, 1), (0.5, 1), (1.0, 1), (4.0, 4)])
def test_a_slower_device_takes_longer_and_sends_the_same(slowdown, factor):
    slow = PROFILE.stretched(slowdown)
    assert slow.stage_s == {(0, S3): 0.125 * factor, (3, S3_SS): 0.5 * factor}
    assert slow.codec_s == {(0, "jpeg"): 0.25 * factor}
    assert slow.precision_s == {(3, "int8-tensor"): 0.0625 * factor}
    assert (slow.codec_bytes, slow.estimated) == (PROFILE.codec_bytes, PROFILE.estimated)


@pytest.mark.parametrize("part", ["head", "tail"])
@pytest.mark.usefixtures("one_run")
def test_everything_is_there_and_positive(tiny_bundle, factory, part):
    last = len(tiny_bundle.segments)
    profile = measure(tiny_bundle, factory, part, budget_s=600.0)
    assert profile.estimated == frozenset()
    assert set(profile.stage_s) == {(c, s) for c in range(last + 1) for s in Structure}
    empty = set() if part == "head" else {(last, structure) for structure in Structure}
    for key, seconds in profile.stage_s.items():
        assert (seconds == 0) if key in empty else (0 < seconds < 10)
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
def test_other_precisions_are_timed_in_s3_at_every_cut(tiny_bundle, factory, part, monkeypatch):
    last = len(tiny_bundle.segments)
    speed = {"fp32": 1.0, "int8-channel": 0.5}

    def stage_s(factory, part, cut, structure, image, precision="fp32"):
        segments = cut if part == "head" else last - cut
        return segments * speed[precision] * (1 if structure is S3 else 2)

    monkeypatch.setattr(profiling, "_stage_s", stage_s)
    monkeypatch.setattr(profiling, "_prepare", lambda jpeg, bundle: None)
    profile = measure(tiny_bundle, factory, part, 0.0, ("fp32", "int8-channel"))
    assert set(profile.precision_s) == {(cut, "int8-channel") for cut in range(last + 1)}
    for cut in range(last + 1):
        half_s = profile.precision_s[cut, "int8-channel"]
        assert half_s == pytest.approx(profile.stage_s[cut, S3] / 2, abs=1e-2)


@pytest.mark.usefixtures("one_run")
def test_int8_halves_are_really_timed(tiny_bundle, factory):
    profile = measure(tiny_bundle, factory, "tail", 0.0, ("int8-tensor",))
    last = len(tiny_bundle.segments)
    times = [profile.precision_s[cut, "int8-tensor"] for cut in range(last + 1)]
    assert times[last] == 0
    assert min(times[:last]) > 0


@pytest.mark.usefixtures("one_run")
def test_payloads_are_what_the_codecs_make(tiny_bundle, factory):
    profile = measure(tiny_bundle, factory, "head", budget_s=0.0)
    frames = tiny_bundle.calibration_frames()
    np.testing.assert_array_equal(frames, tiny_frames(4))
    for codec in ("raw", "raw+zstd", "jpeg"):
        sizes = [encode("image", frame, codec).payload_bytes for frame in frames]
        assert profile.codec_bytes[0, codec] == np.mean(sizes)
    (spec,) = tiny_bundle.crossings[3]
    channels = spec.shape[1]
    assert profile.codec_bytes[3, "fp16"] == 2 * spec.elements
    assert profile.codec_bytes[3, "uint8"] == spec.elements + 8 * channels


@pytest.mark.parametrize("part", ["head", "tail"])
@pytest.mark.usefixtures("one_run")
def test_beyond_the_budget_s3_and_whole_halves_are_timed_the_rest_scaled(
    tiny_bundle, factory, part, monkeypatch
):
    last = len(tiny_bundle.segments)
    ratio = dict(zip(Structure, (1.0, 1.5, 2.0, 3.0), strict=True))

    def stage_s(factory, part, cut, structure, image, precision="fp32"):
        segments = cut if part == "head" else last - cut
        return 0.25 * segments * ratio[structure]

    monkeypatch.setattr(profiling, "_stage_s", stage_s)
    monkeypatch.setattr(profiling, "_prepare", lambda jpeg, bundle: None)
    profile = measure(tiny_bundle, factory, part, budget_s=0.0)
    whole = last if part == "head" else 0
    for cut in range(last + 1):
        for structure in Structure:
            timed = structure is S3 or cut == whole
            assert ((cut, structure) in profile.estimated) == (not timed)
            expected = stage_s(None, part, cut, structure, None)
            assert profile.stage_s[cut, structure] == pytest.approx(expected, abs=1e-2)


@pytest.mark.parametrize("part", ["head", "tail"])
@pytest.mark.usefixtures("one_run")
def test_the_nearest_timed_half_gives_the_scale(tiny_bundle, factory, part, monkeypatch):
    """The budget ends in the middle of the second structure."""
    last = len(tiny_bundle.segments)
    clock = SimpleNamespace(now=0.0, perf_counter=lambda: clock.now)

    def stage_s(factory, part, cut, structure, image, precision="fp32"):
        clock.now += 1.0
        segments = cut if part == "head" else last - cut
        # The ratio differs at each cut.
        return segments * (1.0 if structure is S3 else 1.0 + segments / 100)

    monkeypatch.setattr(profiling, "_stage_s", stage_s)
    monkeypatch.setattr(profiling, "time", clock)
    always = len(Structure) + last  # all whole halves and all of S3
    profile = measure(tiny_bundle, factory, part, budget_s=always + 2.5)
    assert len(profile.stage_s) == (last + 1) * len(Structure)
    assert len(profile.estimated) == len(profile.stage_s) - always - 3
    for (cut, structure), seconds in profile.stage_s.items():
        segments = cut if part == "head" else last - cut
        if structure is S3:
            assert seconds == segments
        elif structure is S3_SS:  # the whole and the three next were timed
            assert seconds == pytest.approx(segments * (1 + max(segments, last - 3) / 100))
        else:
            assert seconds == pytest.approx(segments * (1 + last / 100))


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
    profile = measure(tiny_bundle, factory, "head", budget_s=0.0)
    assert (2, "fp16") not in profile.codec_s
    assert (2, "fp16+zstd") not in profile.codec_bytes
    assert {(2, "raw"), (2, "uint8"), (3, "fp16")} <= profile.codec_s.keys()


def test_a_profile_is_measured_once(tiny_bundle, factory, tmp_path, monkeypatch):
    measured = []

    def fake_measure(*args):
        measured.append(args[2:])
        return PROFILE

    monkeypatch.setattr(profiling, "measure", fake_measure)
    for _ in range(2):
        assert profile_cached(tiny_bundle, factory, "head", 3.0, tmp_path) == PROFILE
    assert measured == [("head", 3.0, ())]
    profile_cached(tiny_bundle, factory, "tail", 3.0, tmp_path)
    threads = EngineFactory(tiny_bundle, cache_dir=tmp_path, threads=2)
    profile_cached(tiny_bundle, threads, "head", 3.0, tmp_path)
    profile_cached(tiny_bundle, factory, "head", 3.0, tmp_path, ("int8-tensor",))
    assert len(measured) == 4
    # A damaged file counts as not there.
    for file in tmp_path.iterdir():
        file.write_bytes(file.read_bytes()[:-3])
        assert FileCache(tmp_path).get(file.name) is None
    assert profile_cached(tiny_bundle, factory, "head", 3.0, tmp_path) == PROFILE
    assert len(measured) == 5
