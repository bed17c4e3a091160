"""Shared memory in a folder made by hand, with locks as the kernel lists them."""

import os

import pytest

from codesign_ros.doctor import shared_memory
from codesign_ros.doctor.finding import Verdict
from codesign_ros.doctor.shared_memory import Segment

OK, WARN, FAIL = Verdict
MB = 1_000_000


@pytest.mark.parametrize(
    ("size", "free", "verdict"),
    [(8000 * MB, 7000 * MB, OK), (256 * MB, 5 * MB, WARN), (50 * MB, 49 * MB, WARN)],
)
def test_room(tmp_path, size, free, verdict):
    assert shared_memory.room(tmp_path, lambda _: (size, free)).verdict is verdict


def test_a_folder_that_is_not_there(tmp_path):
    found = shared_memory.room(tmp_path / "shm")
    assert (found.verdict, "shm-size" in found.change) == (FAIL, True)


def test_a_folder_that_may_not_be_written(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert shared_memory.room(tmp_path, lambda _: (8000 * MB, 7000 * MB)).verdict is FAIL


def lock_line(path, arrow=""):
    about = path.stat()
    device = f"{os.major(about.st_dev):02x}:{os.minor(about.st_dev):02x}"
    return f"1: {arrow}FLOCK  ADVISORY  WRITE 4711 {device}:{about.st_ino} 0 EOF\n"


def test_a_living_node_holds_a_lock(tmp_path):
    folder, proc = tmp_path / "shm", tmp_path / "proc"
    folder.mkdir()
    proc.mkdir()
    for name in ("fastdds_a", "fastdds_b", "fastdds_c", "fastrtps_port7411", "other"):
        (folder / name).write_bytes(bytes(1000))
    for name in ("fastdds_a_el", "fastdds_b_el", "fastdds_c_el", "fastrtps_port7411_sl"):
        (folder / name).touch()
    waits = lock_line(folder / "fastdds_c_el", arrow="-> ")
    (proc / "locks").write_text(
        lock_line(folder / "fastdds_a_el") + lock_line(folder / "fastrtps_port7411_sl") + waits
    )
    alive = {each.name: each.alive for each in shared_memory.segments(folder, proc)}
    assert alive == {
        "fastdds_a": True, "fastdds_b": False, "fastdds_c": False, "fastrtps_port7411": True,
    }  # fmt: skip


def segment(size, *, alive, owner=1000):
    return Segment("fastdds_x", size, owner, alive)


def test_leftovers_count_by_their_size():
    dead, living = segment(MB, alive=False), segment(9 * MB, alive=True)
    assert shared_memory.leftovers([dead, living], 64 * MB).verdict is OK
    found = shared_memory.leftovers([dead] * 8, 64 * MB)
    assert (found.verdict, found.change) == (WARN, "fastdds shm clean")


def test_nodes_of_two_users():
    mine, others = segment(1, alive=True), segment(1, alive=True, owner=0)
    assert shared_memory.owners([mine], 1000).verdict is OK
    assert shared_memory.owners([mine, others], 1000).verdict is WARN
    assert shared_memory.owners([segment(1, alive=False, owner=0)], 1000).verdict is OK
