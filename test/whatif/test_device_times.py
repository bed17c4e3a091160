"""A device's times as a file."""

import json
import math

import pytest

from codesign_ros.cost.half_times import Extent, HalfTimes
from codesign_ros.engines.factory import open_backend
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import HalfForm, Structure
from codesign_ros.whatif import device_times
from codesign_ros.whatif.device_times import (
    measure_device,
    read_device_times,
    write_device_times,
)

INT8 = "int8-channel"
JPEG = {(0, "jpeg"): 0.01}, {(0, "jpeg"): 1000.5}
TIMES = {
    "head": HalfTimes(
        {
            HalfForm(0): 0.1,
            HalfForm(2): 0.3,
            HalfForm(2, Structure.S3_SS_S1): 0.4,
            HalfForm(2, precision=INT8): 0.2,
        },
        frozenset({HalfForm(2, Structure.S3_SS_S1)}),
        *JPEG,
    ),
    "tail": HalfTimes({HalfForm(2): 0.25}, frozenset(), *JPEG),
}


@pytest.fixture
def conditions(tiny_bundle):
    return {"device": "my-robot", "threads": 2, "model_id": tiny_bundle.model_id}


def test_times_survive_the_file(tiny_bundle, conditions, tmp_path):
    path = tmp_path / "profiles" / "my-robot.json"
    write_device_times(path, TIMES, conditions)
    assert read_device_times(path, tiny_bundle) == ("my-robot", TIMES)
    assert json.loads(path.read_text()).items() >= conditions.items()


def test_files_from_before_merge_was_told_are_read(tiny_bundle, conditions, tmp_path):
    path = tmp_path / "times.json"
    write_device_times(path, TIMES, conditions)
    content = json.loads(path.read_text())
    for part in ("head", "tail"):
        assert {row.pop(4) for row in content[part]["halves"]} == {False}
        for row in content[part]["codecs"]:
            assert row.pop(4) >= 0
    # From before necks were told.
    path.write_text(json.dumps(content))
    assert read_device_times(path, tiny_bundle) == ("my-robot", TIMES)
    for part in ("head", "tail"):
        assert {row.pop(2) for row in content[part]["halves"]} == {"fold"}
    path.write_text(json.dumps(content))
    assert read_device_times(path, tiny_bundle) == ("my-robot", TIMES)


def test_another_networks_times_are_refused(tiny_bundle, conditions, tmp_path):
    path = tmp_path / "times.json"
    write_device_times(path, TIMES, {**conditions, "model_id": "other"})
    with pytest.raises(CodesignError, match="is of network 'other', the bundle tiny has"):
        read_device_times(path, tiny_bundle)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"device": "x"}', '{"head": 3}'])
def test_what_is_no_profile_is_refused_in_one_line(tiny_bundle, tmp_path, text):
    path = tmp_path / "times.json"
    path.write_text(text)
    with pytest.raises(CodesignError, match=r"times\.json is no profile .*codesign profile") as e:
        read_device_times(path, tiny_bundle)
    assert "\n" not in str(e.value)


def test_files_that_cannot_be_used_are_named(tiny_bundle, conditions, tmp_path):
    with pytest.raises(CodesignError, match=r"cannot read the profile .*nowhere\.json"):
        read_device_times(tmp_path / "nowhere.json", tiny_bundle)
    (tmp_path / "file").touch()
    with pytest.raises(CodesignError, match=r"cannot write the profile .*file"):
        write_device_times(tmp_path / "file" / "times.json", TIMES, conditions)


def test_both_parts_are_measured_and_progress_told(
    tiny_bundle, engine_cache, tmp_path, monkeypatch
):
    monkeypatch.setattr(device_times, "default_cache_dir", lambda: tmp_path)
    factory = open_backend(tiny_bundle, cache_dir=engine_cache)
    last = len(tiny_bundle.segments)
    extent = Extent(cuts=(0, last), structures=(Structure.S3,), budget_s=math.inf)
    seen = []
    times, conditions = measure_device(
        factory, "here", extent, progress=lambda *args: seen.append(args)
    )
    assert conditions.items() >= {"device": "here", "engine": "onnxruntime", "threads": 1}.items()
    assert conditions["model_id"] == tiny_bundle.model_id
    assert conditions.keys() >= {"power_mode", "clocks"}
    head_s = times["head"].half_s
    assert head_s.keys() == times["tail"].half_s.keys() == {HalfForm(0), HalfForm(last)}
    assert head_s[HalfForm(last)] > head_s[HalfForm(0)] > 0
    for part in ("head", "tail"):
        done, total = [args[1:] for args in seen if args[0] == part][-1]
        assert done == total
    # From the cache, where nodes find it too.
    assert measure_device(factory, "here", extent)[0] == times


def test_a_cut_that_does_not_exist_is_refused(tiny_bundle, engine_cache):
    factory = open_backend(tiny_bundle, cache_dir=engine_cache)
    with pytest.raises(CodesignError, match="cut 99 does not exist: tiny has cuts 0 to 15"):
        measure_device(factory, "here", Extent(cuts=(99,)))
