"""The sample of ``support.sampling`` that a run of the tests takes."""

from itertools import product

from support.sampling import covering

AXES = ("ab", range(5), ("x", "y", "z"))


def test_every_value_is_in_the_sample_and_few_combinations_are():
    for seed in "123":
        chosen = covering(product(*AXES), seed)
        assert [set(column) for column in zip(*chosen, strict=True)] == [set(axis) for axis in AXES]
        assert len(chosen) == 5


def test_only_combinations_that_there_are_get_chosen():
    there = [("a", 1), ("a", 2), ("b", 3)]
    assert sorted(covering(there, "seed")) == there


def test_the_seed_decides():
    samples = [covering(product(*AXES), seed) for seed in ("one", "one", "two")]
    assert samples[0] == samples[1] != samples[2]
