"""A device's times as a file."""

import json
import math
from dataclasses import replace

import pytest

from codesign_ros.cost.half_times import Extent, StageProfile
from codesign_ros.engines.factory import EngineFactory
from codesign_ros.types import CodesignError, Structure
from codesign_ros.whatif import device_times
from codesign_ros.whatif.device_times import (
    DeviceTimes,
    measure_device,
    read_device_times,
    write_device_times,
)

S3, FULL = Structure.S3, Structure.S3_SS_S1
INT8 = "int8-channel"


@pytest.fixture
def times(tiny_bundle):
    head = StageProfile(
        {(0, S3): 0.1, (2, S3): 0.3, (2, FULL): 0.4},
        frozenset({(2, FULL, "fp32")}),
        {(0, "jpeg"): 0.01},
        {(0, "jpeg"): 1000.5},
        {(2, S3, INT8): 0.2},
    )
    tail = StageProfile({(2, S3): 0.25}, frozenset(), {(0, "jpeg"): 0.02}, {(0, "jpeg"): 1000.5})
    return DeviceTimes(
        "my-robot", "onnxruntime", 2, tiny_bundle.model_id, head, tail, "15W", "not locked"
    )


def test_times_survive_the_file(tiny_bundle, times, tmp_path):
    path = tmp_path / "profiles" / "my-robot.json"
    write_device_times(path, times)
    assert read_device_times(path, tiny_bundle) == times
    content = json.loads(path.read_text())
    assert content["precisions"] == ["fp32", INT8]
    assert (content["device"], content["engine"], content["threads"]) == (
        "my-robot", "onnxruntime", 2,
    )  # fmt: skip


def test_files_from_before_there_were_power_modes_are_read(tiny_bundle, times, tmp_path):
    path = tmp_path / "times.json"
    write_device_times(path, times)
    content = json.loads(path.read_text())
    assert (content.pop("power_mode"), content.pop("clocks")) == ("15W", "not locked")
    path.write_text(json.dumps(content))
    assert read_device_times(path, tiny_bundle) == replace(times, power_mode="", clocks="")


def test_another_networks_times_are_refused(tiny_bundle, times, tmp_path):
    path = tmp_path / "times.json"
    write_device_times(path, replace(times, model_id="other"))
    with pytest.raises(CodesignError, match="is of network 'other', the bundle tiny has"):
        read_device_times(path, tiny_bundle)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"device": "x"}', '{"head": 3}'])
def test_what_is_no_profile_is_refused_in_one_line(tiny_bundle, tmp_path, text):
    path = tmp_path / "times.json"
    path.write_text(text)
    with pytest.raises(CodesignError, match=r"times\.json is no profile .*codesign profile") as e:
        read_device_times(path, tiny_bundle)
    assert "\n" not in str(e.value)


def test_files_that_cannot_be_used_are_named(tiny_bundle, times, tmp_path):
    with pytest.raises(CodesignError, match=r"cannot read the profile .*nowhere\.json"):
        read_device_times(tmp_path / "nowhere.json", tiny_bundle)
    (tmp_path / "file").touch()
    with pytest.raises(CodesignError, match=r"cannot write the profile .*file"):
        write_device_times(tmp_path / "file" / "times.json", times)


def test_both_parts_are_measured_and_progress_told(
    tiny_bundle, engine_cache, tmp_path, monkeypatch
):
    monkeypatch.setattr(device_times, "default_cache_dir", lambda: tmp_path)
    factory = EngineFactory(tiny_bundle, cache_dir=engine_cache)
    last = len(tiny_bundle.segments)
    extent = Extent(cuts=(0, last), structures=(S3,), budget_s=math.inf)
    seen = []
    times = measure_device(factory, "here", extent, progress=lambda *args: seen.append(args))
    assert (times.device, times.engine, times.threads) == ("here", "onnxruntime", 1)
    assert times.head.stage_s.keys() == times.tail.stage_s.keys() == {(0, S3), (last, S3)}
    assert times.head.stage_s[last, S3] > times.head.stage_s[0, S3] > 0
    for part in ("head", "tail"):
        done, total = [args[1:] for args in seen if args[0] == part][-1]
        assert done == total
    # From the cache, where nodes find it too.
    assert measure_device(factory, "here", extent) == times


def test_a_cut_that_does_not_exist_is_refused(tiny_bundle, engine_cache):
    factory = EngineFactory(tiny_bundle, cache_dir=engine_cache)
    with pytest.raises(CodesignError, match="cut 99 does not exist: tiny has cuts 0 to 15"):
        measure_device(factory, "here", Extent(cuts=(99,)))
