import resource
import sys
from pathlib import Path

import pytest

from codesign_ros.hardware.heap import give_back_freed

BLOCK = 64 * 1024  # below what glibc asks the system for by itself


def resident_bytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_what_lies_below_something_still_in_use_is_given_back():
    blocks = [bytearray(BLOCK) for _ in range(1600)]
    last = blocks.pop()
    full = resident_bytes()
    freed = BLOCK * len(blocks)
    blocks.clear()
    kept = full - resident_bytes() < freed / 2
    give_back_freed()
    assert full - resident_bytes() > 0.9 * freed
    assert kept, "the system had it already: this test shows nothing"
    assert len(last) == BLOCK
