"""Tables of a neck and codes that look like its own."""

import numpy as np

from codesign_ros.wire.neck.tables import CodeTables, frequencies_of


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
