"""Throttling, read from trees made by hand (see ``jetson_trees``)."""

import shutil

import pytest

from codesign_ros.hardware.thermal import Throttle
from support.jetson_trees import ORIN, THERMAL, cooling, cpu, gpu, write, zone

CORES = "sys/devices/system/cpu/cpu{}/thermal_throttle/core_throttle_count"
TRIPS = (("passive", 99), ("passive", 70))


class Machine:
    """A tree, a clock, and the Throttle that reads them."""

    def __init__(self, root, files):
        self.root, self.now_s = root, 1000.0
        write(root, files)
        self.throttle = Throttle(root, clock_s=lambda: self.now_s)

    def reason(self, *changes):
        for change in changes:
            write(self.root, change)
        return self.throttle.reason()


@pytest.fixture
def orin(tmp_path):
    machine = Machine(tmp_path, ORIN)
    assert machine.reason() == ""
    return machine


def test_this_machine_answers_without_an_error():
    throttle = Throttle()
    assert isinstance(throttle.reason(), str)
    assert all(-40 < celsius < 150 for celsius in throttle.temperatures().values())


def test_idle_clocks_are_no_throttling(orin):
    assert orin.reason(gpu(306, 1020), cpu(115.2, 1728.0)) == ""


def test_a_fan_and_a_warm_surface_are_no_throttling(orin):
    warm = [zone(0, "cpu-thermal", 80, *TRIPS), zone(1, "gpu-thermal", 80, *TRIPS)]
    assert orin.reason(cooling(2, "pwm-fan", 5), cooling(10, "hot-surface-alert", 1), *warm) == ""


def test_gpu_held_down_by_its_cooling_device(orin):
    # The kernel tells the lowered limit; what the GPU runs at may be lower still, for want of work.
    reason = orin.reason(
        cooling(1, "devfreq-17000000.gpu", 6), gpu(306, 408), zone(1, "gpu-thermal", 99.4, *TRIPS)
    )
    assert reason == "GPU at 408 of 1020 MHz, 99 °C"


def test_cpu_held_down_by_its_cooling_device(orin):
    hot = zone(0, "cpu-thermal", 98.6, *TRIPS)
    reason = orin.reason(cooling(0, "cpufreq-cpu0", 2), cpu(1190.4, 1190.4, policy=4), hot)
    assert reason == "CPU at 1190 of 1728 MHz, 99 °C"


def test_both(orin):
    reason = orin.reason(
        cooling(0, "cpufreq-cpu0", 2),
        cooling(1, "devfreq-17000000.gpu", 1),
        cpu(1510.4, 1510.4),
        gpu(918, 918),
    )
    assert reason == "GPU at 918 of 1020 MHz, CPU at 1510 of 1728 MHz, 52 °C"


def test_firmware_holds_the_clock_down_and_leaves_the_limit(orin):
    hot = zone(1, "gpu-thermal", 99.0, *TRIPS)
    assert orin.reason(hot, gpu(1020, 1020)) == ""  # at the trip point and as fast as it can
    assert orin.reason(gpu(510, 1020)) == "GPU at 510 of 1020 MHz, 99 °C"


def test_an_alert_is_enough(orin):
    fast = [cpu(1728, 1728), cpu(1728, 1728, policy=4)]
    reason = orin.reason(cooling(3, "cpu-throttle-alert", 1), *fast)
    assert reason == "clocks limited by cpu-throttle-alert, 52 °C"


@pytest.mark.parametrize(
    "kind",
    ["thermal-devfreq-0", "devfreq-gpu-gpc-0", "gpu-throttle-alert", "gpu-balanced"],
)
def test_what_cooling_devices_of_the_gpu_are_called(tmp_path, kind):
    machine = Machine(tmp_path, {**ORIN, **cooling(20, kind, 0)})
    assert machine.reason() == ""
    assert machine.reason(cooling(20, kind, 1), gpu(612, 612)).startswith("GPU at 612 of 1020 MHz")


def test_hot_before_anybody_looked(tmp_path):
    hot = {**ORIN, **cooling(1, "devfreq-17000000.gpu", 6), **gpu(408, 408)}
    assert Machine(tmp_path, hot).reason() == "GPU at 408 MHz, 52 °C"


def test_another_power_mode_has_another_limit(orin):
    assert orin.reason(gpu(306, 612)) == ""
    reason = orin.reason(cooling(1, "devfreq-17000000.gpu", 3), gpu(408, 408))
    assert reason.startswith("GPU at 408 of 612 MHz")


def test_a_reason_that_flickers_is_held(orin):
    reason = orin.reason(cooling(1, "devfreq-17000000.gpu", 6), gpu(408, 408))
    for _ in range(3):
        orin.now_s += 4.9
        assert orin.reason(cooling(1, "devfreq-17000000.gpu", 0), gpu(306, 1020)) == reason
        assert orin.reason(cooling(1, "devfreq-17000000.gpu", 6), gpu(408, 408)) == reason
    cool = [cooling(1, "devfreq-17000000.gpu", 0), gpu(306, 1020)]
    orin.now_s += 4.9
    assert orin.reason(*cool) == reason
    orin.now_s += 0.2
    assert orin.reason() == ""


def test_over_current(tmp_path):
    alarms = "sys/class/hwmon/hwmon1"
    files = {f"{alarms}/name": "soctherm_oc\n", f"{alarms}/oc3_event_cnt": 4}
    machine = Machine(tmp_path, {**ORIN, **files})
    assert machine.reason() == ""  # what was before we looked does not count
    assert machine.reason({f"{alarms}/oc3_event_cnt": 5}) == "throttled for over-current, 52 °C"


def test_intel_counts(tmp_path):
    machine = Machine(
        tmp_path,
        {
            CORES.format(0): 7,
            CORES.format(10): 3,
            **zone(0, "acpitz", 20, ("passive", 10)),
            **zone(1, "x86_pkg_temp", 97, ("passive", 0)),
            **cooling(0, "Fan", 1),
            **cooling(1, "intel_powerclamp", -1),
            **cooling(2, "TCC Offset", 10),
            **cpu(800, 4000),
        },
    )
    assert machine.reason() == ""
    assert machine.reason({CORES.format(10): 4}) == "CPU throttles itself, 97 °C"
    machine.now_s += 6
    assert machine.reason() == ""


def test_temperatures(tmp_path):
    zones = [zone(7, "PMIC-Die", 100), zone(9, "thermal-fan-est", 50), zone(11, "tboard", 38.5)]
    machine = Machine(tmp_path, {**ORIN, **zones[0], **zones[1], **zones[2]})
    assert machine.throttle.temperatures() == {
        "cpu-thermal": 52.3, "gpu-thermal": 49.0, "tj-thermal": 52.3, "tboard": 38.5,
    }  # fmt: skip


def test_nothing_there(tmp_path):
    throttle = Throttle(tmp_path)
    assert (throttle.reason(), throttle.temperatures()) == ("", {})


def test_files_that_vanish_or_make_no_sense(orin):
    for file in (orin.root / THERMAL).glob("*/*"):
        file.write_bytes(b"\xff nonsense")
    assert orin.reason() == ""
    shutil.rmtree(orin.root / "sys")
    assert orin.reason() == ""
    assert orin.throttle.temperatures() == {}


def test_clocks_that_vanish_while_it_is_hot(orin):
    shutil.rmtree(orin.root / "sys/class/devfreq")
    reason = orin.reason(cooling(1, "devfreq-17000000.gpu", 6))
    assert reason == "clocks limited by devfreq-17000000.gpu, 52 °C"


def test_folders_in_place_of_files(tmp_path):
    for path in ORIN:
        (tmp_path / path).mkdir(parents=True)
    assert Throttle(tmp_path).reason() == ""
