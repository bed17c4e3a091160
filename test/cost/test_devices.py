"""The file of devices."""

import pytest

from codesign_ros.cost.catalogue import find_device, load_devices
from codesign_ros.types.errors import CodesignError
from support.paths import ROOT

SHIPPED = ROOT / "config" / "devices.yaml"
GOOD = "{peak_flops: {fp32: 1.0e+9}, memory_bandwidth: 2.0e+9, utilisation: 0.5}"


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
        assert device.paper_peak_flops == pytest.approx(peak)
        assert device.memory_bandwidth == pytest.approx(bandwidth)
    # Section VI-A: devices are ordered by intensity, Nano below TX1 and TX2, NX above all.
    ridges = [devices[name].ridge_intensity for name in papers]
    assert min(ridges) == ridges[0]
    assert max(ridges) == ridges[3]


def test_every_shipped_device_is_plausible_and_has_a_source():
    for device in load_devices(SHIPPED).values():
        assert device.source, device.name
        peaks = [device.peak_flops[f] for f in ("fp32", "fp16", "int8") if f in device.peak_flops]
        # Narrower numbers are never slower, and a network fits into the memory.
        assert peaks == sorted(peaks), device.name
        assert device.memory_bytes > 1e9


def test_figures_are_dense_and_of_the_gpu_alone():
    devices = load_devices(SHIPPED)
    # cores * 2 FLOP * clock
    assert devices["nano"].peak("fp32") == pytest.approx(128 * 2 * 921.6e6, rel=0.01)
    assert devices["tx2"].peak("fp32") == pytest.approx(256 * 2 * 1.3e9, rel=0.01)
    assert devices["nx"].peak("fp32") == pytest.approx(384 * 2 * 1.1e9, rel=0.01)
    assert devices["orin-nx"].peak("fp32") == pytest.approx(1024 * 2 * 918e6, rel=0.01)
    # Of NVIDIA's 275 sparse TOPS the two DLAs do 105.
    assert devices["agx-orin"].peak("int8-channel") == pytest.approx((275 - 105) / 2 * 1e12)
    assert not devices["nano"].has("int8-tensor")


def test_an_alias_is_the_device_itself(write):
    aliased = GOOD.replace("{peak", "{aliases: [short], source: ' a\n   book ', peak", 1)
    devices = load_devices(write(f"devices:\n  long: {aliased}\n"))
    assert find_device(devices, "short") is find_device(devices, "long")
    assert find_device(devices, "short").name == "long"
    assert find_device(devices, "short").source == "a book"


def test_what_is_not_given_is_not_known(write):
    device = load_devices(write("devices: {a: {peak_flops: {fp32: 8}, memory_bandwidth: 2}}"))["a"]
    assert (device.utilisation, device.memory_bytes) == (1.0, float("inf"))
    assert device.paper_peak_flops is None
    assert device.power_w is None
    assert device.ridge_intensity == 4.0
    assert (device.has("fp32"), device.has("int8-channel")) == (True, False)


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
        ("devices: {a: }\n", "lacks peak_flops, memory_bandwidth"),
        ("devices: {a: {peak_flops: {fp32: 1}}}\n", "lacks memory_bandwidth"),
        (f"devices: {{a: {GOOD.replace('util', 'tuil')}}}\n", "an unknown field 'tuilisation'"),
        (f"devices: {{a: {GOOD.replace('{fp32: 1.0e+9}', '7')}}}\n", "peak_flops must give fp32"),
        (f"devices: {{a: {GOOD.replace('fp32', 'fp16')}}}\n", "peak_flops must give fp32"),
        (f"devices: {{a: {GOOD.replace('fp32', 'fp32: 1, fp8')}}}\n", "peak_flops must give fp32"),
        (f"devices: {{a: {GOOD.replace('1.0e+9', '1e9')}}}\n", "not '1e9' .in YAML a number has"),
        (f"devices: {{a: {GOOD.replace('1.0e+9', '-1')}}}\n", "fp32 must be a positive number"),
        (f"devices: {{a: {GOOD.replace('1.0e+9', '.inf')}}}\n", "positive number, not inf"),
        (f"devices: {{a: {GOOD.replace('1.0e+9', 'true')}}}\n", "positive number, not True"),
        (f"devices: {{a: {GOOD.replace('0.5', '2')}}}\n", "at most 1"),
        (f"devices: {{a: {GOOD.replace('0.5', '0.5, power_w: 0')}}}\n", "power_w must be a posit"),
        (f"devices: {{a: {GOOD.replace('0.5', '0.5, source: 3')}}}\n", "source must be text"),
        (f"devices: {{a: {GOOD.replace('0.5', '0.5, aliases: b')}}}\n", "must be a list of names"),
        (f"devices: {{b: {GOOD}, a: {GOOD.replace('0.5', '0.5, aliases: [b]')}}}\n", "'b' already"),
    ],
)
def test_malformed_files_are_one_line(write, text, message):
    with pytest.raises(CodesignError, match=message) as error:
        load_devices(write(text))
    assert "\n" not in str(error.value)


def test_missing_file(tmp_path):
    with pytest.raises(CodesignError, match=r"cannot read devices from .*nowhere"):
        load_devices(tmp_path / "nowhere.yaml")
