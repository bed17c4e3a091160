import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codesign_ros.bundle import Bundle, BundleError, write_bundle
from codesign_ros.models.network import weights_of
from codesign_ros.types.tensors import TensorSpec
from support.refusal import refusal_of
from support.tiny import (
    CLASSES,
    TINY_ACCURACY,
    TINY_INPUT,
    tiny_frames,
    tiny_network,
    write_tiny_bundle,
)

PARTS = ("model.yaml", "weights.safetensors", "accuracy.json", "calibration.npz")


@pytest.fixture
def copy(tiny_bundle, tmp_path) -> Path:
    """A copy of the tiny bundle that a test may damage."""
    return Path(shutil.copytree(tiny_bundle.path, tmp_path / "copy.bundle"))


def refused(path: Path) -> str:
    """Open the bundle and use all of it; return the one line of the refusal that must come."""
    return refusal_of(use, path)


def use(path: Path) -> None:
    bundle = Bundle.open(path)
    bundle.network()
    bundle.calibration_frames()


def edit_model(path: Path, **changes) -> None:
    file = path / "model.yaml"
    document = yaml.safe_load(file.read_text())
    for key, value in changes.items():
        if value is None:
            del document[key]
        else:
            document[key] = value
    file.write_text(yaml.safe_dump(document))


def test_what_was_written_comes_back(tiny_bundle):
    assert tiny_bundle.name == "tiny"
    assert tiny_bundle.version == 1
    assert tiny_bundle.task == "classification"
    assert tiny_bundle.architecture == "mine_repvgg"
    assert tiny_bundle.architecture_args == {"classes": 3}
    assert tiny_bundle.classes == CLASSES
    assert tiny_bundle.input == TINY_INPUT
    assert tiny_bundle.accuracy == TINY_ACCURACY
    np.testing.assert_array_equal(tiny_bundle.calibration_frames(), tiny_frames(4))


def test_network_has_the_weights_that_were_written(tiny_bundle):
    written, read = weights_of(tiny_network()), weights_of(tiny_bundle.network())
    assert written.keys() == read.keys()
    for name, array in written.items():
        assert array.dtype == read[name].dtype
        np.testing.assert_array_equal(array, read[name])
    assert not tiny_bundle.network().training


def test_segments_and_crossings_are_the_networks(tiny_bundle):
    network = tiny_network()
    assert tiny_bundle.segments == network.segment_names
    assert len(tiny_bundle.crossings) == len(tiny_bundle.segments) + 1
    assert tiny_bundle.crossings[0] == (TensorSpec("image", (64, 96, 3), "uint8"),)
    for cut in range(1, len(tiny_bundle.segments) + 1):
        assert tiny_bundle.crossings[cut] == network.crossing(cut)


def test_model_id_follows_the_content(tiny_bundle, copy, tmp_path):
    assert len(tiny_bundle.model_id) == 16
    assert Bundle.open(copy).model_id == tiny_bundle.model_id
    assert write_tiny_bundle(tmp_path / "again").model_id == tiny_bundle.model_id
    assert write_tiny_bundle(tmp_path / "other", seed=1).model_id != tiny_bundle.model_id
    edit_model(copy, name="renamed")
    assert Bundle.open(copy).model_id == tiny_bundle.model_id
    edit_model(copy, classes=["a", "b", "c"])
    assert Bundle.open(copy).model_id != tiny_bundle.model_id


def test_a_bundle_can_be_written_over(tiny_bundle, copy):
    write_tiny_bundle(copy, seed=1)
    assert Bundle.open(copy).model_id != tiny_bundle.model_id


def test_opening_imports_no_torch(tiny_bundle):
    code = (
        "import sys; from codesign_ros.bundle import Bundle; "
        "Bundle.open(sys.argv[1]).calibration_frames(); sys.exit('torch' in sys.modules)"
    )
    path = os.pathsep.join(filter(None, sys.path))
    subprocess.run(
        [sys.executable, "-c", code, str(tiny_bundle.path)],
        env={**os.environ, "PYTHONPATH": path},
        check=True,
        timeout=60,
    )


def test_path_that_is_no_bundle(tmp_path):
    assert "no bundle at" in refused(tmp_path / "nowhere")
    file = tmp_path / "file"
    file.write_text("")
    assert "a bundle is a directory" in refused(file)


@pytest.mark.parametrize("part", PARTS)
def test_missing_part(copy, part):
    (copy / part).unlink()
    assert refused(copy).endswith(f"has no {part}")


@pytest.mark.parametrize("part", PARTS)
def test_a_part_that_git_did_not_fetch(copy, part):
    (copy / part).write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"
    )
    assert f"{part} was not fetched, it is a pointer of Git LFS" in refused(copy)


def test_a_path_from_home(copy, tiny_bundle, monkeypatch):
    monkeypatch.setenv("HOME", str(copy.parent))
    assert Bundle.open(f"~/{copy.name}").model_id == tiny_bundle.model_id


def test_the_form_of_boxes_is_part_of_the_network(copy, tiny_bundle):
    assert tiny_bundle.boxes == "corners"
    edit_model(copy, version=2, boxes="centre")
    bundle = Bundle.open(copy)
    assert bundle.boxes == "centre"
    assert bundle.model_id != tiny_bundle.model_id
    edit_model(copy, boxes="polar")
    assert "boxes 'polar' are not known (corners, centre)" in refused(copy)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_mean_and_std_are_numbers(copy, value):
    edit_model(copy, input={"height": 64, "width": 96, "mean": [0, 0, 0], "std": [1, value, 1]})
    assert "mean and std need three numbers" in refused(copy)


def test_newer_version(copy):
    edit_model(copy, version=4)
    assert "version 4, this package reads up to 3: update codesign_ros" in refused(copy)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{unclosed: [1, 2", "model.yaml is not YAML"),
        ("date: 2001-99-99", "model.yaml is not YAML"),
        ("[" * 5000, "model.yaml is not YAML"),
        ("!!python/object/apply:os.system ['true']", "model.yaml is not YAML"),
        ("\udcff", "model.yaml is not YAML"),
        ("just words", "does not state its version"),
        ("name: no version", "does not state its version"),
        ("version: one", "does not state its version"),
        ("version: 1", "'task' is missing"),
        ("", "does not state its version"),
    ],
)
def test_malformed_model_yaml(copy, text, message):
    (copy / "model.yaml").write_bytes(text.encode(errors="surrogateescape"))
    assert message in refused(copy)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        *[
            ({key: None}, f"'{key}' is missing")
            for key in (
                "name",
                "task",
                "architecture",
                "architecture_args",
                "classes",
                "input",
                "segments",
                "crossings",
                "weights_sha256",
            )
        ],
        ({"task": "poetry"}, "task 'poetry' is not known (classification, detection, features)"),
        ({"architecture": "mine_vit"}, "unknown architecture 'mine_vit'"),
        ({"architecture_args": {"depth": 3}}, "arguments of architecture 'mine_repvgg': "),
        ({"architecture_args": {"classes": "three"}}, "copy.bundle: "),
        ({"architecture_args": [3]}, "architecture_args is not a mapping"),
        ({"classes": "empty"}, "classes is not a list of names"),
        ({"classes": ["a", "b"]}, "the output (1, 3) does not fit classification of 2 classes"),
        ({"segments": ["one"]}, "1 segments need 2 crossings"),
        ({"input": 3}, "model.yaml is not sound"),
        (
            {"input": {"height": 64, "width": 96, "mean": [0, 0], "std": [1, 1, 1]}},
            "mean and std need three numbers",
        ),
        (
            {"input": {"height": float("inf"), "width": 9, "mean": [0] * 3, "std": [1] * 3}},
            "model.yaml is not sound",
        ),
        (
            {"input": {"height": 32, "width": 96, "mean": [0] * 3, "std": [1] * 3}},
            "are not those of architecture 'mine_repvgg'",
        ),
    ],
)
def test_unsound_model_yaml(copy, changes, message):
    edit_model(copy, **changes)
    assert message in refused(copy)


def test_weights_of_another_bundle(copy, tmp_path):
    other = write_tiny_bundle(tmp_path / "other.bundle", seed=1)
    shutil.copy(other.path / "weights.safetensors", copy)
    assert "weights.safetensors is not the file that model.yaml was written with" in refused(copy)


@pytest.mark.parametrize("keep", [0, 5, 500, -1])
def test_weights_cut_off(copy, keep):
    file = copy / "weights.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    assert "weights.safetensors is cut off or damaged" in refused(copy)


@pytest.mark.parametrize("change", ["missing", "foreign", "shape"])
def test_weights_that_do_not_fit_the_architecture(copy, change):
    import hashlib

    file = copy / "weights.safetensors"
    weights = safetensors.numpy.load_file(file)
    name = next(name for name, array in weights.items() if array.ndim == 4)
    if change == "missing":
        del weights[name]
    elif change == "foreign":
        weights["head.weight"] = np.zeros(3, np.float32)
    else:
        weights[name] = weights[name][:1].copy()
    safetensors.numpy.save_file(weights, file)
    # As if the whole bundle had been made for another network.
    edit_model(copy, weights_sha256=hashlib.sha256(file.read_bytes()).hexdigest())
    message = refused(copy)
    assert "the weights are not this network's" in message
    assert ("head.weight" if change == "foreign" else name) in message


@pytest.mark.parametrize("text", ["", "{", "[]", '{"metric": "accuracy"}', "\udcff"])
def test_damaged_accuracy_table(copy, text):
    (copy / "accuracy.json").write_bytes(text.encode(errors="surrogateescape"))
    assert "accuracy.json: " in refused(copy)


def test_accuracy_out_of_range(copy):
    file = copy / "accuracy.json"
    document = json.loads(file.read_text())
    document["rows"][0]["value"] = 90
    file.write_text(json.dumps(document))
    assert "accuracy.json: " in refused(copy)


@pytest.mark.parametrize(
    "arrays",
    [
        {"images": np.zeros((1, 64, 96, 3), np.uint8)},
        {"frames": np.zeros((1, 96, 64, 3), np.uint8)},
        {"frames": np.zeros((0, 64, 96, 3), np.uint8)},
        {"frames": np.zeros((1, 64, 96, 3), np.float32)},
        {"frames": np.uint8(3)},
        {"frames": np.array([{"pickled": True}])},
    ],
    ids=["name", "size", "none", "type", "scalar", "pickle"],
)
def test_wrong_calibration_frames(copy, arrays):
    np.savez(copy / "calibration.npz", **arrays)
    assert "calibration.npz" in refused(copy)


def test_calibration_frames_cut_off(copy):
    file = copy / "calibration.npz"
    whole = file.read_bytes()
    for keep in (0, 100, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:keep])
        assert "calibration.npz cannot be read" in refused(copy)


def test_calibration_array_cut_off(copy):
    file = copy / "calibration.npz"
    with zipfile.ZipFile(file) as archive:
        array = archive.read("frames.npy")
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("frames.npy", array[:-1])
    assert "calibration.npz cannot be read" in refused(copy)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(part=st.sampled_from(PARTS), place=st.integers(0, 10**9), new=st.binary(max_size=4))
def test_any_damage_is_refused_or_harmless(copy, part, place, new):
    file = copy / part
    whole = file.read_bytes()
    place %= len(whole)
    file.write_bytes(whole[:place] + new + whole[place + len(new) :])
    try:
        bundle = Bundle.open(copy)
        bundle.calibration_frames()
    except BundleError as error:
        assert "\n" not in str(error)  # noqa: PT017 - any other exception fails the test
    finally:
        file.write_bytes(whole)


def write(path: Path, **changes) -> Bundle:
    arguments = {
        "name": "tiny",
        "architecture": "mine_repvgg",
        "architecture_args": {"classes": 3},
        "classes": CLASSES,
        "accuracy": TINY_ACCURACY,
        "calibration_frames": tiny_frames(1),
    }
    return write_bundle(path, tiny_network(), **{**arguments, **changes})


def test_writing_over_what_is_no_bundle_is_refused(tmp_path):
    (tmp_path / "diary.txt").write_text("dear diary")
    with pytest.raises(BundleError, match="directory with other things"):
        write(tmp_path)
    with pytest.raises(BundleError, match="in the way"):
        write(tmp_path / "diary.txt")
    with pytest.raises(BundleError, match="cannot write bundle"):
        write(tmp_path / "diary.txt" / "inside")
    assert [path.name for path in tmp_path.iterdir()] == ["diary.txt"]


@pytest.mark.parametrize(
    "changes",
    [
        {"architecture": "repvgg", "architecture_args": {"name": "A0", "classes": 3}},
        {"classes": ("one",)},
        {"calibration_frames": np.zeros((1, 8, 8, 3), np.uint8)},
    ],
)
def test_what_was_written_is_checked(tmp_path, changes):
    with pytest.raises(BundleError):
        write(tmp_path / "new.bundle", **changes)
