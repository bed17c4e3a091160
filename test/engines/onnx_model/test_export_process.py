"""A network that is exported beside the frames, by a process of its own."""

import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from codesign_ros.engines.base import EngineKey
from codesign_ros.engines.factory import open_backend
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import Structure


def exports_under(pid):
    """Command lines of the exports that a process has started and that still run."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parent = (process / "stat").read_text().rpartition(")")[2].split()[1]
            command = (process / "cmdline").read_text()
            if int(parent) == pid and "export_process" in command:
                found.append(command)
    return found


@pytest.mark.parametrize("neck", [False, True])
def test_it_is_the_one_that_is_exported_here(tmp_path, neck_bundle, neck):
    key = EngineKey("tail", neck_bundle.necks[0].cut, Structure.S3_SS, neck=neck)
    aside = open_backend(neck_bundle, cache_dir=tmp_path / "aside")
    told = []
    aside.prepare_aside(key, lambda fraction, text: told.append((fraction, text)))
    assert set(told) == {(None, "exporting")}
    here = open_backend(neck_bundle, cache_dir=tmp_path / "here")
    here.prepare(key)
    assert aside.file_of(key).read_bytes() == here.file_of(key).read_bytes()
    told.clear()
    aside.prepare_aside(key, lambda fraction, text: told.append(text))
    assert told == []  # it is there already


def test_who_wants_no_more_of_it_ends_it(tmp_path, tiny_bundle):
    class StoppedError(Exception):
        pass

    def stop(fraction, text):
        raise StoppedError

    factory = open_backend(tiny_bundle, cache_dir=tmp_path)
    with pytest.raises(StoppedError):
        factory.prepare_aside(EngineKey("head", 3), stop)
    assert exports_under(os.getpid()) == []
    assert factory.file_of(EngineKey("head", 3)) is None


def test_what_goes_wrong_there_is_one_line_here(tmp_path, tiny_bundle):
    factory = open_backend(tiny_bundle, cache_dir=tmp_path)
    factory.bundle = replace(tiny_bundle, path=tmp_path / "none.bundle")
    with pytest.raises(CodesignError, match=r"none\.bundle") as error:
        factory.prepare_aside(EngineKey("head", 3))
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="there is no head"):
        factory.prepare_aside(EngineKey("head", 0))
    with pytest.raises(CodesignError, match="precision"):
        factory.prepare_aside(EngineKey("head", 3, precision="fp4"))
