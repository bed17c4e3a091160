from pathlib import Path

import pytest

from codesign_ros import resources, types
from codesign_ros.bundle import Bundle
from codesign_ros.resources import default_bundle, resource_path
from codesign_ros.types.errors import CodesignError


def pretend_installed(monkeypatch, package: Path):
    package.mkdir(parents=True)
    monkeypatch.setattr(resources, "__file__", str(package / "resources.py"))


def test_the_default_bundle_is_one_of_the_package():
    bundle = default_bundle()
    assert bundle.parent == resource_path("bundles")
    assert (bundle / "model.yaml").is_file()


@pytest.mark.parametrize("path", sorted(resource_path("bundles").iterdir()), ids=lambda p: p.name)
def test_a_shipped_bundle_is_called_as_its_folder(path):
    assert Bundle.open(path).name == path.name.removesuffix(".bundle")


def test_source_tree():
    assert (resource_path("msg") / "InferenceResult.msg").is_file()


@pytest.mark.parametrize(
    "lib", ["lib/python3.11/site-packages", "local/lib/python3.10/dist-packages"]
)
def test_colcon_prefix(tmp_path, monkeypatch, lib):
    pretend_installed(monkeypatch, tmp_path / lib / "codesign_ros")
    share = tmp_path / "share" / "codesign_ros" / "config"
    share.mkdir(parents=True)
    # A directory of that name beside the package belongs to somebody else.
    (tmp_path / lib / "config").mkdir()
    assert resource_path("config") == share


def test_wheel(tmp_path, monkeypatch):
    package = tmp_path / "lib" / "python3.12" / "site-packages" / "codesign_ros"
    pretend_installed(monkeypatch, package)
    (package / "share" / "bags").mkdir(parents=True)
    assert resource_path("bags") == package / "share" / "bags"


def test_missing_and_unknown(tmp_path, monkeypatch):
    pretend_installed(monkeypatch, tmp_path / "lib" / "site-packages" / "codesign_ros")
    with pytest.raises(CodesignError, match="'launch' directory is missing"):
        resource_path("launch")
    with pytest.raises(CodesignError, match="known are msg"):
        resource_path("weights")


def test_the_error_that_users_catch_is_at_the_top_of_the_types():
    assert types.CodesignError is CodesignError
