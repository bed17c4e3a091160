"""Quotas in trees that look like those of either version of cgroups."""

import time

import pytest

from codesign_ros.hardware.cpu_quota import cpu_clock, cpu_quota, usable_cores


def quota(tmp_path, membership, **files):
    (tmp_path / "self").write_text(membership)
    for name, text in files.items():
        path = tmp_path / "fs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return cpu_quota(tmp_path / "self", tmp_path / "fs")


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, None),
        ({"a/b/cpu.max": "max 100000\n"}, None),
        ({"a/b/cpu.max": "50000 100000\n"}, 0.5),
        ({"a/b/cpu.max": "max 100000", "a/cpu.max": "150000 100000"}, 1.5),
        ({"a/b/cpu.max": "50000 100000", "a/cpu.max": "25000 100000"}, 0.25),
        ({"a/b/cpu.max": "garbage"}, None),
    ],
)
def test_version_2(tmp_path, files, cores):
    assert quota(tmp_path, "0::/a/b\n", **files) == cores


@pytest.mark.parametrize("controllers", ["cpu", "cpu,cpuacct"])
def test_version_1(tmp_path, controllers):
    folder = f"{controllers}/bed"
    files = {f"{folder}/cpu.cfs_quota_us": "2500\n", f"{folder}/cpu.cfs_period_us": "10000\n"}
    lines = f"9:name=systemd:/bed\n3:{controllers}:/bed\n2:cpuset:/bed\n"
    assert quota(tmp_path, lines, **files) == 0.25
    files[f"{folder}/cpu.cfs_quota_us"] = "-1\n"
    assert quota(tmp_path, lines, **files) is None


def test_a_machine_without_cgroups(tmp_path):
    assert cpu_quota(tmp_path / "nothing", tmp_path) is None


@pytest.mark.parametrize(("quota", "cores"), [(None, 3), (0.5, 0.5), (8.0, 3)])
def test_a_process_may_use_no_more_than_its_quota_and_its_processors(monkeypatch, quota, cores):
    monkeypatch.setattr("codesign_ros.hardware.cpu_quota.cpu_quota", lambda: quota)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 2, 5}, raising=False)
    assert usable_cores() == cores


V1 = {"cpu.cfs_quota_us": "2500", "cpu.cfs_period_us": "10000"}


@pytest.mark.parametrize(
    ("membership", "files"),
    [
        ("0::/a/b\n", {"a/cpu.max": "5000 10000", "a/cpu.stat": "usage_usec 7250000\nuser_usec 9"}),
        (
            "3:cpu,cpuacct:/bed\n",
            {f"cpu,cpuacct/bed/{name}": text for name, text in V1.items()}
            | {"cpu,cpuacct/bed/cpuacct.usage": "7250000000\n"},
        ),
        (
            "3:cpu:/bed\n4:cpuacct:/bed\n",
            {f"cpu/bed/{name}": text for name, text in V1.items()}
            | {"cpuacct/bed/cpuacct.usage": "7250000000\n"},
        ),
    ],
)
def test_the_clock_of_a_quota_tells_what_all_that_share_it_have_used(tmp_path, membership, files):
    quota(tmp_path, membership, **files)
    clock = cpu_clock(tmp_path / "self", tmp_path / "fs")
    assert clock() == 7.25
    usage = next(name for name in files if name.endswith(("stat", "usage")))
    (tmp_path / "fs" / usage).write_text(files[usage].replace("725", "825"))
    assert clock() == 8.25


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"a/cpu.max": "max 10000", "a/cpu.stat": "usage_usec 7250000"},
        {"a/cpu.max": "5000 10000"},  # does not tell
        {"a/cpu.max": "9990000000 10000", "a/cpu.stat": "usage_usec 7250000"},  # limits nothing
    ],
)
def test_the_clock_is_that_of_the_process_where_no_quota_tells(tmp_path, files):
    quota(tmp_path, "0::/a/b\n", **files)
    assert cpu_clock(tmp_path / "self", tmp_path / "fs") is time.process_time
