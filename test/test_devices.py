"""The file of devices."""

from pathlib import Path

import pytest

from codesign_ros.cost.devices import find_device, load_devices
from codesign_ros.types import CodesignError

SHIPPED = Path(__file__).parents[1] / "config" / "devices.yaml"
GOOD = "{peak_flops: 1.0e+9, memory_bandwidth: 2.0e+9, utilisation: 0.5}"


@pytest.fixture
def write(tmp_path):
    def write_text(text):
        path = tmp_path / "devices.yaml"
        path.write_text(text)
        return path

    return write_text


def test_the_papers_devices():
    devices = load_devices(SHIPPED)
    # Section VI-A and Table V.
    papers = {
        "jetson-nano": (472e9, 25.6e9),
        "jetson-tx1": (1e12, 25.6e9),
        "jetson-tx2": (1.33e12, 59.7e9),
        "jetson-xavier-nx": (21e12, 51.2e9),
        "rtx-4090": (82.6e12, 1018e9),
    }
    assert set(papers) < set(devices)
    for name, (peak, bandwidth) in papers.items():
        device = find_device(devices, name)
        assert device.name == name
        assert device.peak_flops == pytest.approx(peak)
        assert device.memory_bandwidth == pytest.approx(bandwidth)
    # Section VI-A: devices are ordered by intensity, Nano below TX1 and TX2, NX above all.
    ridges = [devices[name].ridge_intensity for name in papers]
    assert min(ridges) == ridges[0]
    assert max(ridges) == ridges[3]


def test_unknown_device_lists_the_known(write):
    devices = load_devices(write(f"devices:\n  b: {GOOD}\n  a: {GOOD}\n"))
    with pytest.raises(CodesignError, match="unknown device 'c'; known are a, b"):
        find_device(devices, "c")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no devices"),
        ("- a\n", "names no devices"),
        ("devices: {}\n", "names no devices"),
        ("devices: {a: [\n", "cannot read devices"),
        ("devices: {a: {peak_flops: 1}}\n", "needs exactly peak_flops"),
        (f"devices: {{a: {GOOD.replace('1.0e+9', '1e9')}}}\n", "positive number, not '1e9'"),
        (f"devices: {{a: {GOOD.replace('1.0e+9', '-1')}}}\n", "positive number, not -1"),
        (f"devices: {{a: {GOOD.replace('1.0e+9', '.inf')}}}\n", "positive number, not inf"),
        (f"devices: {{a: {GOOD.replace('0.5', '2')}}}\n", "at most 1"),
    ],
)
def test_malformed_files_are_one_line(write, text, message):
    with pytest.raises(CodesignError, match=message) as error:
        load_devices(write(text))
    assert "\n" not in str(error.value)


def test_missing_file(tmp_path):
    with pytest.raises(CodesignError, match=r"cannot read devices from .*nowhere"):
        load_devices(tmp_path / "nowhere.yaml")
