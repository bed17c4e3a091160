"""Bytes of a film's frames after others, against payloads that are written one by one."""

import pytest

from codesign_ros.evaluation.rate.neck_film import NeckFilm
from codesign_ros.evaluation.rate.network import CutDetector
from codesign_ros.wire.neck.payload import CodedFrame, encode_codes, quantise
from support.tiny import tiny_frames
from support.tiny_neck import write_tiny_neck

CUT, FRAMES = 3, 6


@pytest.mark.parametrize(
    ("fps", "late"), [(5.0, 1), (10.0, 1), (10.0003, 1), (12.0, 2), (29.98, 3), (30.0000001, 3)]
)
def test_a_frame_is_written_after_the_newest_that_was_answered(tmp_path, tiny_bundle, fps, late):
    """Answers come after 0.1 s: so many frames later one may be written after it."""
    bundle = write_tiny_neck(tmp_path / "film.bundle", tiny_bundle, CUT, CUT, film=True)
    tables = bundle.neck_tables(CUT)
    detector = CutDetector(bundle, "fp32", [], [])
    still = tiny_frames(2, seed=8)
    images = [still[number // 3] for number in range(FRAMES)]  # three alike, then three others
    film = NeckFilm(detector, fps)
    sizes = [film.sizes(image) for image in images]
    names = [f"neck.{level} at {CUT}" for level in range(tables.levels)]
    assert [way.name for way in film.ways] == [f"{name}, after a frame" for name in names]
    assert {way.family for way in film.ways} == {f"neck at {CUT}, after a frame"}
    (latents,) = zip(*(detector.latents(image) for image in images), strict=True)
    for level, name in enumerate(names):
        codes = [quantise(latent, tables, level) for latent in latents]
        for number in range(FRAMES):
            expected = len(encode_codes(codes[number], tables, level))
            if number >= late:
                before = CodedFrame(number - late, codes[number - late], level)
                after = len(encode_codes(codes[number], tables, level, before))
                expected = min(expected, after)
            assert sizes[number][name] == expected
    assert sizes[late][names[0]] < sizes[0][names[0]] or late == 3  # of a frame that is the same


def test_a_neck_that_knows_no_films_has_no_such_ways(neck_bundle):
    film = NeckFilm(CutDetector(neck_bundle, "fp32", [], []), 10.0)
    assert film.ways == []
    assert film.sizes(tiny_frames(1)[0]) == {}
