"""What is written where, in a directory that looks like either version's."""

import pytest

from codesign_ros.testbed.cgroup import PERIOD_US, CpuGroup, is_version_2
from codesign_ros.types.errors import CodesignError


@pytest.fixture
def version_1(tmp_path):
    for controller in ("cpu", "cpuset", "cpuacct"):
        (tmp_path / controller).mkdir()
    return tmp_path


@pytest.fixture
def version_2(tmp_path):
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory pids")
    return tmp_path


def test_version_1_has_a_folder_for_each_controller(version_1):
    group = CpuGroup("bed_robot", core=1, cores=0.25, root=version_1)
    assert not is_version_2(version_1)
    cpu = version_1 / "cpu" / "bed_robot"
    assert int((cpu / "cpu.cfs_period_us").read_text()) == PERIOD_US
    assert int((cpu / "cpu.cfs_quota_us").read_text()) == PERIOD_US / 4
    assert (version_1 / "cpuset" / "bed_robot" / "cpuset.cpus").read_text() == "1"
    assert len(group.procs) == 3


def test_version_2_has_one(version_2):
    group = CpuGroup("bed_robot", core=0, cores=2.0, root=version_2)
    assert is_version_2(version_2)
    folder = version_2 / "bed_robot"
    assert (folder / "cpu.max").read_text() == f"{2 * PERIOD_US} {PERIOD_US}"
    assert (folder / "cpuset.cpus").read_text() == "0"
    assert group.procs == [folder / "cgroup.procs"]


def test_time_is_told_in_seconds(version_1):
    group = CpuGroup("bed_robot", core=0, cores=1.0, root=version_1)
    (version_1 / "cpuacct" / "bed_robot" / "cpuacct.usage").write_text("2500000000\n")
    assert group.cpu_s() == 2.5


def test_time_is_told_in_seconds_by_version_2_too(version_2):
    group = CpuGroup("bed_robot", core=0, cores=1.0, root=version_2)
    (version_2 / "bed_robot" / "cpu.stat").write_text("usage_usec 2500000\nuser_usec 1\n")
    assert group.cpu_s() == 2.5


def test_a_machine_without_cgroups_is_told_so(tmp_path):
    with pytest.raises(CodesignError, match="needs cgroups with cpu and cpuset"):
        CpuGroup("bed_robot", core=0, cores=1.0, root=tmp_path / "nothing")
