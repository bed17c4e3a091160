from dataclasses import fields, replace

import pytest

from codesign_ros.engines.tensorrt.engine_file import EngineHeader, content_of, pack, unpack
from codesign_ros.types.errors import CodesignError

HEADER = EngineHeader(
    content=content_of(b"a piece"),
    flavour="tensorrt",
    version="10.3.0.30",
    gpu="Orin (sm_87, 8 GiB)",
    precision="fp16",
    dla_core=None,
    max_batch=1,
    workspace_bytes=None,
)
# Another value for each field, and a word of the error that names it.
OTHERS = {
    "content": (content_of(b"another piece"), "network piece"),
    "flavour": ("tensorrt-rtx", "library"),
    "version": ("8.6.2", "version"),
    "gpu": ("NVIDIA GeForce RTX 4090 (sm_89, 24 GiB)", "RTX 4090"),
    "precision": ("fp32", "precision"),
    "dla_core": (0, "DLA core"),
    "max_batch": (4, "largest batch"),
    "workspace_bytes": (1 << 28, "workspace"),
    "format": (99, "file format"),
}
ENGINE = bytes(range(256)) * 3


def test_what_is_packed_is_unpacked():
    assert unpack(pack(HEADER, ENGINE), HEADER, "here") == ENGINE
    assert unpack(pack(HEADER, b""), HEADER, "here") == b""


def test_every_field_has_a_case_here():
    assert {field.name for field in fields(EngineHeader)} == OTHERS.keys()


@pytest.mark.parametrize("name", OTHERS)
def test_an_engine_for_something_else_is_refused_by_name(name):
    value, words = OTHERS[name]
    other = replace(HEADER, **{name: value})
    with pytest.raises(CodesignError, match=words) as caught:
        unpack(pack(other, ENGINE), HEADER, "/cache/some.engine")
    message = str(caught.value)
    assert "/cache/some.engine" in message
    assert f"'{value}'" in message
    assert f"'{getattr(HEADER, name)}'" in message
    assert "delete it, or build it with 'codesign export'" in message
    assert "\n" not in message


@pytest.mark.parametrize("name", OTHERS)
def test_another_header_is_another_file(name):
    other = replace(HEADER, **{name: OTHERS[name][0]})
    assert other.file_name != HEADER.file_name
    assert replace(HEADER).file_name == HEADER.file_name


def test_none_and_a_word_are_different_settings():
    """A DLA core that is not there and the number 0 must not share a file."""
    names = {replace(HEADER, dla_core=core).file_name for core in (None, 0, 1)}
    assert len(names) == 3


@pytest.mark.parametrize("left", range(0, len(pack(HEADER, ENGINE)), 13))
def test_a_file_that_was_cut_off_is_found(left):
    with pytest.raises(CodesignError, match=r"is damaged|is not an engine file"):
        unpack(pack(HEADER, ENGINE)[:left], HEADER, "here")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"ONNX or whatever else" * 40,
        pack(HEADER, ENGINE) + b"x",
        pack(HEADER, ENGINE).replace(b'"content"', b"'content'"),
        pack(HEADER, ENGINE).replace(b'{"content', b'\xff"content'),
        pack(HEADER, ENGINE)[:32] + b"[" + b" " * (len(pack(HEADER, b"")) - 34) + b"]" + ENGINE,
    ],
)
def test_what_is_no_engine_file_is_refused(data):
    with pytest.raises(CodesignError, match=r"is damaged|is not an engine file") as caught:
        unpack(data, HEADER, "here")
    assert "\n" not in str(caught.value)


def test_a_header_with_more_in_it_still_fits():
    """A later version may say more; what this one asks for has to be right."""
    data = pack(HEADER, ENGINE)
    begin = data.index(b"{")
    text = data[begin : -len(ENGINE)]
    more = text[:-1] + b', "new": 1}'
    length = len(more).to_bytes(8, "little")
    assert unpack(data[:16] + length + data[24:begin] + more + ENGINE, HEADER, "here") == ENGINE
