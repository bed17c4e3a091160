"""Which Jetson this is and its power mode, read from trees made by hand (see ``jetson_trees``)."""

import shutil

import pytest

from codesign_ros.hardware import jetson
from codesign_ros.hardware.jetson import NVPMODEL, Jetson, find_jetson, power_mode
from support.jetson_trees import GPU, ORIN, cpu, gpu, write

LOAD, FIXED = "clocks follow the load", "clocks fixed"


def says(text):
    """Stands for running a command."""

    def run(command):
        assert list(command) == [NVPMODEL, "-q"]
        return text

    return run


NOTHING = says("")
MAXN = says("NV Power Mode: MAXN_SUPER\n2\n")


@pytest.fixture
def orin(tmp_path):
    write(tmp_path, ORIN)
    return tmp_path


def test_this_machine_answers_without_an_error():
    assert isinstance(power_mode(), str)
    assert find_jetson() is None or find_jetson().model


def test_other_machines(tmp_path):
    assert find_jetson(tmp_path) is None
    write(tmp_path, {"proc/device-tree/compatible": "raspberrypi,4-model-b\0brcm,bcm2711\0"})
    write(tmp_path, gpu(306, 1020))
    assert find_jetson(tmp_path) is None
    assert power_mode(tmp_path, pytest.fail) == ""


@pytest.mark.parametrize(
    ("release", "l4t", "jetpack"),
    [
        ("# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic", "36.4.3", 6),
        ("# R35 (release), REVISION: 4.1, GCID: 33958178, BOARD: t186ref", "35.4.1", 5),
        ("# R32 (release), REVISION: 7.1, GCID: 29818004, BOARD: t210ref", "32.7.1", 4),
        ("# R50 (release), REVISION: 1.0, GCID: 1, BOARD: generic", "50.1.0", 0),
        ("something else", "", 0),
    ],
)
def test_release(orin, release, l4t, jetpack):
    write(orin, {"etc/nv_tegra_release": release + "\n"})
    assert find_jetson(orin) == Jetson("NVIDIA Jetson Orin Nano Developer Kit", l4t, jetpack)


def test_in_a_container_the_device_tree_is_enough(orin):
    (orin / "etc/nv_tegra_release").unlink()
    found = find_jetson(orin)
    assert (found.l4t, found.jetpack) == ("", 0)
    assert str(found) == "NVIDIA Jetson Orin Nano Developer Kit"


def test_a_jetson_in_one_line(orin):
    assert str(find_jetson(orin)) == (
        "NVIDIA Jetson Orin Nano Developer Kit, L4T 36.4.3 (JetPack 6)"
    )


@pytest.mark.parametrize(
    ("printed", "name"),
    [
        ("NV Power Mode: MAXN_SUPER\n2\n", "MAXN_SUPER"),  # JetPack 6
        ("NV Fan Mode:quiet\nNV Power Mode: MODE_30W\n2\n", "MODE_30W"),  # JetPack 5
        ("NVPM WARN: fan mode is not set!\nNV Power Mode: 15W 6CORE\n", "15W 6CORE"),
        ("", "MAXN_SUPER"),  # no nvpmodel: from its files
        ("NVPM ERROR: failed to open the config file\n", "MAXN_SUPER"),
    ],
)
def test_name_of_the_power_mode(orin, printed, name):
    assert power_mode(orin, says(printed)) == f"{name}, GPU 306-1020 MHz, {LOAD}"


def test_a_mode_that_has_no_name(orin):
    write(orin, {"var/lib/nvpmodel/status": "pmode:0007 fmode:quiet"})
    assert power_mode(orin, NOTHING) == f"mode 7, GPU 306-1020 MHz, {LOAD}"
    (orin / "var/lib/nvpmodel/status").unlink()
    assert power_mode(orin, NOTHING) == f"GPU 306-1020 MHz, {LOAD}"


def test_a_mode_limits_the_gpu(orin):
    write(orin, gpu(306, 612))
    printed = says("NV Power Mode: 15W\n0\n")
    assert power_mode(orin, printed) == f"15W, GPU 306-612 MHz, {LOAD}"
    # Between two steps the lower one holds.
    config = ORIN["etc/nvpmodel.conf"].replace("612000000", "700000000")
    write(orin, {"etc/nvpmodel.conf": config})
    assert power_mode(orin, printed) == f"15W, GPU 306-612 MHz, {LOAD}"


def test_a_hot_jetson_is_in_the_same_mode(orin):
    cool = power_mode(orin, MAXN)
    write(orin, gpu(408, 408))  # a cooling device lowers the limit
    assert power_mode(orin, MAXN) == cool
    write(orin, gpu(306, 306))
    assert power_mode(orin, MAXN) == cool


def test_without_the_modes_the_limit_is_what_holds_now(orin):
    (orin / "etc/nvpmodel.conf").unlink()
    write(orin, gpu(306, 714))
    assert power_mode(orin, MAXN) == f"MAXN_SUPER, GPU 306-714 MHz, {LOAD}"


def test_jetson_clocks(orin):
    write(orin, gpu(1020, 1020, least=1020))
    assert power_mode(orin, MAXN) == f"MAXN_SUPER, GPU 1020 MHz, {LOAD}"  # the CPU's do
    write(orin, cpu(1728.0, 1728.0, 1728.0))
    assert power_mode(orin, MAXN).endswith(LOAD)
    write(orin, cpu(1728.0, 1728.0, 1728.0, policy=4))
    assert power_mode(orin, MAXN) == f"MAXN_SUPER, GPU 1020 MHz, {FIXED}"


@pytest.mark.parametrize(
    "name",
    ["57000000.gpu", "17000000.gp10b", "17000000.gv11b", "17000000.ga10b", "gpu-gpc-0"],
)
def test_what_gpus_are_called(orin, name):
    shutil.rmtree(orin / GPU)
    write(orin, gpu(306, 1020, folder=f"sys/class/devfreq/{name}"))
    write(orin, gpu(1, 2, folder="sys/class/devfreq/154c0000.nvenc"))
    write(orin, gpu(1, 2, folder="sys/class/devfreq/gpu-nvd-0"))
    assert "GPU 306-1020 MHz" in power_mode(orin, MAXN)


def test_files_that_make_no_sense(orin):
    for path in ORIN:
        if path.startswith(("etc/nvpmodel", "var", "sys")):
            (orin / path).write_bytes(b"\xff\xfe nonsense < POWER_MODEL ID= >")
    assert power_mode(orin, NOTHING) == LOAD
    write(orin, {path: "" for path in ORIN if path.startswith("sys")})
    assert power_mode(orin, NOTHING) == LOAD


def test_without_clocks_nothing_is_said_of_them(tmp_path):
    write(tmp_path, {path: text for path, text in ORIN.items() if not path.startswith("sys")})
    assert power_mode(tmp_path, MAXN) == "MAXN_SUPER"


def test_the_command_is_missing_hangs_or_prints(orin, tmp_path, monkeypatch):
    command = tmp_path / "nvpmodel"
    monkeypatch.setattr(jetson, "NVPMODEL", str(command))
    assert power_mode(orin).startswith("MAXN_SUPER,")  # from the files
    command.write_text("#!/bin/sh\necho 'NV Power Mode: 7W'; echo 1\n")
    command.chmod(0o755)
    assert power_mode(orin).startswith("7W,")
    command.write_text("#!/bin/sh\nexec sleep 60\n")
    assert power_mode(orin).startswith("MAXN_SUPER,")
