"""Tables of a neck and codes that look like its own."""

from dataclasses import replace

import numpy as np

from codesign_ros.wire.neck.tables import CodeTables, frequencies_after, frequencies_of


def neck_tables(shape=(6, 5, 7), levels=3, most=10):
    """Tables of codes within -most..most; each level's are narrower than the one's before."""
    codes = np.arange(-most, most + 1)
    spread = np.geomspace(2.0, 0.2, shape[0])[:, np.newaxis]
    weights = [np.exp(-np.abs(codes) / (spread / (1 + level))) for level in range(levels)]
    gains = np.float32([[1 + channel for channel in range(shape[0])]] * levels)
    gains /= np.arange(1, levels + 1, dtype=np.float32)[:, np.newaxis]
    return CodeTables(gains, frequencies_of(np.stack(weights)), -most, shape)


def codes_of(tables, level, rng):
    """Codes as often as the tables say, int8 (C, H, W)."""
    p = tables.frequencies[level] / 65536
    plane = tables.shape[1:]
    codes = [rng.choice(len(each), size=plane, p=each) + tables.low for each in p]
    return np.int8(codes)


def film_of(tables, level, frames, rng):
    """Codes of frames of which each keeps nine tenths of the one before."""
    film = [codes_of(tables, level, rng)]
    while len(film) < frames:
        fresh = rng.random(tables.shape) < 0.1
        film.append(np.where(fresh, codes_of(tables, level, rng), film[-1]))
    return film


def film_tables(tables=None, most=2):
    """The same with frequencies after a frame before, as ``film_of`` has them."""
    tables = tables or neck_tables()
    after = []
    for level in range(tables.levels):
        film = np.stack(film_of(tables, level, 100, np.random.default_rng(7)))
        after.append(
            frequencies_after(film[:-1], film[1:], tables.frequencies[level], tables.low, most)
        )
    return replace(tables, after=np.stack(after))
