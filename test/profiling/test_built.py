"""Profiles where engines are built ahead: what is built is timed, the rest is estimated."""

import math

import pytest

from codesign_ros.cost.half_times import Extent
from codesign_ros.engines.base import EngineKey
from codesign_ros.engines.cache import FileCache
from codesign_ros.engines.factory import open_backend
from codesign_ros.profiling import profile as profiling
from codesign_ros.profiling import timer
from codesign_ros.profiling.profile import profile_cached, profile_more
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import BRANCH_STRUCTURES, HalfForm

S3, S3_SS, S3_S1, FULL = BRANCH_STRUCTURES
INT8 = "int8-tensor"


class BuildsAhead:
    """A factory whose engines have to be built first; those that it makes are ONNX Runtime's."""

    backend, threads, builds_ahead = "tensorrt", 1, True
    precisions = ("fp32", "fp16", INT8)

    def __init__(self, bundle, cache_dir, refused=()):
        self.bundle = bundle
        self.settings_id = ("tensorrt", "10.0", "a GPU")
        self.built = set()
        self.made = []
        self.closed = 0
        self._refused = refused
        self._factory = open_backend(bundle, cache_dir=cache_dir)

    def prepare(self, key, progress=lambda done, text: None):
        if key.precision in self._refused or key.precision not in self.precisions:
            raise CodesignError(f"no {key.precision}")
        self.built.add(key)

    def is_built(self, key):
        return key in self.built

    def build(self, key):
        assert key in self.built, f"{key} would be built now"
        self.made.append(key)
        engine = self._factory.build(key)
        close = engine.close

        def count():
            self.closed += 1
            close()

        engine.close = count
        return engine


@pytest.fixture
def factory(tiny_bundle, engine_cache):
    return BuildsAhead(tiny_bundle, engine_cache)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Time everything once only."""
    monkeypatch.setattr(timer, "_ROUNDS", 1)


@pytest.fixture
def profile(factory, tmp_path):
    def make(part, **fields):
        return profile_cached(factory.bundle, factory, part, tmp_path, Extent(**fields))

    return make


def timed(profile, empty):
    return {half for half in profile.measured_s if half.cut != empty}


@pytest.mark.parametrize("part", ["head", "tail"])
def test_only_the_whole_network_is_built_and_all_else_estimated(factory, profile, part):
    last = factory.bundle.last_cut
    whole, empty = (last, 0) if part == "head" else (0, last)
    made = profile(part, precisions=(INT8,))
    assert factory.built == {EngineKey(part, whole, precision=p) for p in ("fp32", INT8)}
    assert timed(made, empty) == {HalfForm(whole), HalfForm(whole, precision=INT8)}
    assert made.half_s.keys() == {*Extent(precisions=(INT8,)).halves(last)}
    # The codecs are timed at every cut, on what another backend's heads make of frames.
    assert {cut for cut, _ in made.codec_s} == {*range(last)}
    assert factory.closed == len(factory.made)


@pytest.mark.parametrize("part", ["head", "tail"])
def test_estimates_grow_with_the_half_and_with_its_branches(factory, profile, part):
    last = factory.bundle.last_cut
    made = profile(part)
    cuts = range(last + 1) if part == "head" else range(last, -1, -1)
    for structure in BRANCH_STRUCTURES:
        times = [made.half_s[HalfForm(cut, structure)] for cut in cuts]
        assert times == sorted(times)
        assert times[0] == (made.half_s[HalfForm(0)] if part == "head" else 0)
    whole = last if part == "head" else 0
    assert (
        made.half_s[HalfForm(whole)]
        < made.half_s[HalfForm(whole, S3_SS)]
        < made.half_s[HalfForm(whole, FULL)]
    )


def test_what_was_built_since_is_timed_and_kept(tiny_bundle, factory, profile, tmp_path):
    last = len(tiny_bundle.segments)
    first = profile("head")
    assert profile_more(tiny_bundle, factory, "head", tmp_path, Extent(), first) is first
    built = {EngineKey("head", 5), EngineKey("head", 5, FULL)}
    factory.built |= built
    before = len(factory.made)
    more = profile_more(tiny_bundle, factory, "head", tmp_path, Extent(budget_s=math.inf), first)
    assert timed(more, 0) == {HalfForm(last), HalfForm(5), HalfForm(5, FULL)}
    assert more.half_s[HalfForm(last)] == first.half_s[HalfForm(last)]
    assert more.codec_s == first.codec_s
    # Neighbours follow the new time: between nothing and cut 5 they lie between their times.
    assert more.half_s[HalfForm(0)] <= more.half_s[HalfForm(3)] <= more.half_s[HalfForm(5)]
    assert built <= {*factory.made[before:]}
    # The next start finds it.
    made = len(factory.made)
    assert profile("head") == more
    assert len(factory.made) == made


def test_engines_of_an_export_are_timed_at_the_next_start(factory, profile):
    profile("tail")
    factory.built.add(EngineKey("tail", 4))
    assert HalfForm(4) not in profile("tail").estimated


def test_other_structures_are_timed_within_the_budget(factory, profile):
    factory.built |= {EngineKey("head", 3), EngineKey("head", 3, S3_S1)}
    made = profile("head", budget_s=0.0)
    assert HalfForm(3) not in made.estimated
    assert HalfForm(3, S3_S1) in made.estimated


def test_a_precision_added_later_keeps_what_was_timed(factory, profile):
    first = profile("head", structures=(S3_SS,))
    both = profile("head", structures=(S3,), precisions=(INT8,))
    assert both.half_s.items() >= first.half_s.items()
    assert HalfForm(3, precision=INT8) in both.half_s


def test_a_precision_that_cannot_be_built_has_no_times(tiny_bundle, engine_cache, tmp_path):
    factory = BuildsAhead(tiny_bundle, engine_cache, refused=("fp16",))
    extent = Extent(precisions=("fp16", INT8))
    made = profile_cached(tiny_bundle, factory, "head", tmp_path, extent)
    assert {half.precision for half in made.half_s} == {"fp32", INT8}


@pytest.mark.parametrize(("refused", "precisions"), [(("fp32",), ()), ((), ("int8-channel",))])
def test_no_profile_without_fp32_or_of_an_unknown_precision(
    tiny_bundle, engine_cache, tmp_path, refused, precisions
):
    factory = BuildsAhead(tiny_bundle, engine_cache, refused)
    with pytest.raises(CodesignError):
        profile_cached(tiny_bundle, factory, "head", tmp_path, Extent(precisions=precisions))


def test_other_settings_and_power_modes_have_their_own_times(
    factory, profile, tmp_path, monkeypatch
):
    def files():
        return {path.name for path in tmp_path.glob("*.profile.cache")}

    profile("tail")
    first = files()
    factory.settings_id = ("tensorrt", "10.1", "a GPU")
    profile("tail")
    assert len(files()) == 2
    monkeypatch.setattr(profiling, "power_mode", lambda: "15W")
    profile("tail")
    assert len(files()) == 3
    assert first < files()
    assert all(FileCache(tmp_path).get(name) for name in files())
