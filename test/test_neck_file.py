import dataclasses
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import yaml

from codesign_ros.bundle import Bundle, BundleError, write_neck
from codesign_ros.models.network import weights_of
from codesign_ros.types.tensors import TensorSpec
from support.refusal import refusal_of
from support.tiny_neck import LARGEST, LEVELS, tiny_neck, tiny_tail, write_tiny_neck
from support.two_maps import LATER, ONE, TWO

FILE = "neck_3.safetensors"


@pytest.fixture(scope="module")
def necked(tiny_bundle, tmp_path_factory) -> Bundle:
    return write_tiny_neck(tmp_path_factory.mktemp("neck") / "necked.bundle", tiny_bundle)


@pytest.fixture
def copy(necked, tmp_path) -> Path:
    return Path(shutil.copytree(necked.path, tmp_path / "copy.bundle"))


def refused(path: Path) -> str:
    """Use a bundle with a neck at cut 3; return the one line of the refusal that must come."""
    return refusal_of(use, path)


def use(path: Path) -> None:
    bundle = Bundle.open(path)
    bundle.neck_tables(3)
    bundle.neck_module(3)


def edit(path: Path, **changes) -> None:
    document = yaml.safe_load((path / "model.yaml").read_text())
    document["necks"][0].update(changes)
    (path / "model.yaml").write_text(yaml.safe_dump(document))


def rewrite(path: Path, **tensors) -> None:
    """Change tensors in the neck's file and let model.yaml name the new one."""
    content = {**safetensors.numpy.load_file(path / FILE), **tensors}
    data = safetensors.numpy.save({name: t for name, t in content.items() if t is not None})
    (path / FILE).write_bytes(data)
    edit(path, sha256=hashlib.sha256(data).hexdigest())


def test_what_was_written_comes_back(tiny_bundle, necked):
    info, module, tables = tiny_neck(tiny_bundle, 3, 3)
    (found,) = necked.necks
    assert necked.version == 2
    assert found == dataclasses.replace(info, sha256=found.sha256)
    assert found.spec == TensorSpec("neck", (1, *info.shape), "float32")
    assert found.symbols == np.prod(info.shape)
    assert necked.neck(3) == found
    read = necked.neck_tables(3)
    np.testing.assert_array_equal(read.gains, tables.gains)
    np.testing.assert_array_equal(read.frequencies, tables.frequencies)
    written, built = weights_of(module), weights_of(necked.neck_module(3))
    assert written.keys() == built.keys()
    for name, array in written.items():
        np.testing.assert_array_equal(array, built[name])
    np.testing.assert_array_equal(necked.calibration_frames(), tiny_bundle.calibration_frames())


def test_a_tail_of_its_own_comes_back(tiny_bundle, necked, tmp_path):
    owning = write_tiny_neck(tmp_path / "owning.bundle", tiny_bundle, own_tail=True)
    assert owning.version == 3
    assert owning.neck(3).own_tail
    assert owning.model_id != necked.model_id
    plain, own = weights_of(tiny_bundle.network()), weights_of(owning.network(3))
    tail = tiny_tail(tiny_bundle, 3)
    for name, array in own.items():
        np.testing.assert_array_equal(array, tail.get(name, plain[name]).astype(array.dtype))
    # Without the neck it is the network that it was.
    for name, array in weights_of(owning.network()).items():
        np.testing.assert_array_equal(array, plain[name])
    # And encoder and decoder are those that they would be.
    for name, array in weights_of(owning.neck_module(3)).items():
        np.testing.assert_array_equal(array, weights_of(necked.neck_module(3))[name])


def test_a_bundle_keeps_the_tails_of_other_necks(tiny_bundle, tmp_path):
    owning = write_tiny_neck(tmp_path / "owning.bundle", tiny_bundle, own_tail=True)
    two = write_neck(tmp_path / "two.bundle", owning, *tiny_neck(tiny_bundle, 2, 5, seed=3))
    assert two.version == 3
    assert [neck.own_tail for neck in two.necks] == [False, True]
    for name, array in weights_of(two.network(3)).items():
        np.testing.assert_array_equal(array, weights_of(owning.network(3))[name])
    plain = write_neck(tmp_path / "plain.bundle", two, *tiny_neck(tiny_bundle, 3, 3))
    assert plain.version == 2


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"stranger": np.zeros(3, np.float16)}, "have 'stranger'"),
        ({"head": np.zeros((2, 2), np.float16)}, "have 'head'"),
        ({}, "has no tail of its own, which model.yaml says it has"),
    ],
)
def test_a_tail_that_is_not_the_networks(tiny_bundle, tmp_path, changes, said):
    path = tmp_path / "owning.bundle"
    write_tiny_neck(path, tiny_bundle, own_tail=True)
    gone = {} if changes else {f"tail.{name}": None for name in tiny_tail(tiny_bundle, 3)}
    rewrite(path, **gone, **{f"tail.{name}": array for name, array in changes.items()})
    assert said in refusal_of(lambda each: Bundle.open(each).network(3), path)
    Bundle.open(path).network()


def test_tables_that_know_films_come_back_and_make_another_network(tiny_bundle, necked, tmp_path):
    filmed = write_tiny_neck(tmp_path / "film.bundle", tiny_bundle, film=True)
    *_, tables = tiny_neck(tiny_bundle, 3, 3, film=True)
    np.testing.assert_array_equal(filmed.neck_tables(3).after, tables.after)
    assert necked.neck_tables(3).after is None
    # The weights are the same; head and tail must not be of both.
    for name, array in weights_of(filmed.neck_module(3)).items():
        np.testing.assert_array_equal(array, weights_of(necked.neck_module(3))[name])
    assert filmed.model_id != necked.model_id


def test_the_model_id_follows_the_necks(tiny_bundle, necked, tmp_path):
    assert tiny_bundle.version == 1
    assert tiny_bundle.necks == ()
    assert necked.model_id != tiny_bundle.model_id
    again = write_tiny_neck(tmp_path / "again.bundle", tiny_bundle)
    assert again.model_id == necked.model_id
    other = write_tiny_neck(tmp_path / "other.bundle", tiny_bundle, seed=1)
    assert other.model_id not in (necked.model_id, tiny_bundle.model_id)


def test_a_second_neck_and_another_in_its_place(tiny_bundle, necked, tmp_path):
    first = necked.necks[0]
    out = tmp_path / "two.bundle"
    two = write_neck(out, necked, *tiny_neck(tiny_bundle, 2, 5, seed=3))
    assert [neck.cut for neck in two.necks] == [2, 3]
    assert two.necks[1] == first
    replaced = write_neck(out, two, *tiny_neck(tiny_bundle, 3, 3, seed=4))
    assert [neck.cut for neck in replaced.necks] == [2, 3]
    assert replaced.necks[0] == two.necks[0]
    assert replaced.necks[1].sha256 != first.sha256
    assert len({necked.model_id, two.model_id, replaced.model_id}) == 3


def test_tables_need_no_torch(necked):
    code = (
        "import sys; from codesign_ros.bundle import Bundle; "
        "Bundle.open(sys.argv[1]).neck_tables(3); sys.exit('torch' in sys.modules)"
    )
    path = os.pathsep.join(filter(None, sys.path))
    subprocess.run(
        [sys.executable, "-c", code, str(necked.path)],
        env={**os.environ, "PYTHONPATH": path},
        check=True,
        timeout=60,
    )


def test_a_neck_that_is_not_there(necked):
    said = f"bundle {necked.path} has no neck at cut 4 (it has: 3)"
    for ask in (necked.neck, necked.network, necked.neck_module, necked.neck_tables):
        with pytest.raises(BundleError) as raised:
            ask(4)
        assert str(raised.value) == said


def test_damage_is_refused(copy):
    data = (copy / FILE).read_bytes()
    for damaged in (data[: len(data) // 2], data[:-1] + bytes([data[-1] ^ 1]), b""):
        (copy / FILE).write_bytes(damaged)
        assert f"{FILE} is not the file that model.yaml was written with" in refused(copy)
    (copy / FILE).unlink()
    assert f"{FILE} cannot be read" in refused(copy)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"cut": 0}, "a neck from cut 0 to 3 does not exist"),
        ({"enter": 2}, "a neck from cut 3 to 2 does not exist"),
        ({"enter": 10**9}, "does not exist"),
        ({"levels": 0}, "a neck of 0 rate levels, where 1 to 6 are possible: train it anew"),
        ({"levels": 7}, "a neck of 7 rate levels, where 1 to 6 are possible: train it anew"),
        ({"largest_code": 128}, "codes up to 128"),
        ({"shape": [6, 8, 2**40]}, "a neck's latent of"),
        ({"shape": [6, 8]}, "model.yaml is not sound"),
        ({"shape": [5, 8, 12]}, "a neck's tables do not fit each other"),
        ({"form": {"depth": 1}}, "a neck has no 'depth' that is 1"),
        ({"form": 3}, "model.yaml is not sound"),
        ({"levels": 2}, "its tables are of 3 levels and codes -15..15, not of 2 and -15..15"),
        ({"largest_code": 7}, "its tables are of 3 levels and codes -7..23, not of 3 and -7..7"),
    ],
)
def test_what_is_said_of_a_neck_is_checked(copy, changes, said):
    edit(copy, **changes)
    assert said in refused(copy)


def test_necks_that_are_no_list(copy):
    document = yaml.safe_load((copy / "model.yaml").read_text())
    for necks in (3, {"cut": 3}, [3], [[]], [{}]):
        (copy / "model.yaml").write_text(yaml.safe_dump({**document, "necks": necks}))
        assert "model.yaml is not sound" in refused(copy)
    twice = document["necks"] * 2
    (copy / "model.yaml").write_text(yaml.safe_dump({**document, "necks": twice}))
    assert "two necks have the same cut" in refused(copy)


@pytest.mark.parametrize("more", [{"name": "flat", "shape": [1, 8]}, {"name": "logits"}])
def test_a_neck_where_not_maps_alone_cross(copy, more):
    document = yaml.safe_load((copy / "model.yaml").read_text())
    document["crossings"][3].append({**document["crossings"][3][0], **more})
    (copy / "model.yaml").write_text(yaml.safe_dump(document))
    assert "a neck at cut 3, which not maps alone cross" in refused(copy)


@pytest.mark.parametrize(("cut", "enter"), [(TWO, TWO), (ONE, LATER)])
def test_a_neck_of_two_maps_comes_back(two_maps_bundle, tmp_path, cut, enter):
    written = write_tiny_neck(tmp_path / "two.bundle", two_maps_bundle, cut, enter)
    info, module, tables = tiny_neck(two_maps_bundle, cut, enter)
    (found,) = written.necks
    assert found == dataclasses.replace(info, sha256=found.sha256)
    np.testing.assert_array_equal(written.neck_tables(cut).gains, tables.gains)
    weights, built = weights_of(module), weights_of(written.neck_module(cut))
    assert weights.keys() == built.keys()
    assert {"decoder.0.expand.linear.bias", "decoder.1.expand.linear.bias"} <= weights.keys()
    for name, array in weights.items():
        np.testing.assert_array_equal(array, built[name])


def test_the_names_of_a_neck_of_one_map_have_no_number(necked):
    """Bundles that were written before there were others have these."""
    names = weights_of(necked.neck_module(3)).keys()
    assert {"encoder.linear.bias", "decoder.expand.linear.bias"} <= names
    assert not any(name.split(".")[1].isdecimal() for name in names)


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({"gains": None}, "gains"),
        (
            {"gains": np.zeros((LEVELS, 6), np.float32)},
            "gains must be above zero",
        ),
        (
            {"gains": np.full((LEVELS, 6), 1e-42, np.float32)},
            "gains must be above zero",
        ),
        ({"gains": np.ones((LEVELS, 6), np.float64)}, "gains must be float32"),
        ({"frequencies": np.ones((LEVELS, 6, 2 * LARGEST + 1), np.uint16)}, "of sum 65536"),
        (
            {"frequencies_after": np.ones((LEVELS, 6, 3, 2 * LARGEST + 1), np.uint16)},
            "of sum 65536",
        ),
        ({"frequencies_after": np.ones((LEVELS, 6, 3, 9), np.uint16)}, "do not fit the others"),
        ({"encoder.linear.bias": None}, "lack 'encoder.linear.bias'"),
        ({"stranger": np.zeros(3, np.float32)}, "have 'stranger'"),
    ],
)
def test_a_file_with_other_content(copy, tensors, said):
    rewrite(copy, **tensors)
    assert said in refused(copy)
