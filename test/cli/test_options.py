"""Every option of every command: numbers out of range and places that cannot be written."""

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from codesign_ros.cli.main import _parser, main
from codesign_ros.cli.options import places
from codesign_ros.cli.options.numbers import Real, Whole, image_size
from codesign_ros.types.errors import CodesignError

FOLDERS = (places.OUTPUT_FOLDER, places.NEW_FOLDER, places.BUNDLE_FOLDER)
# What options are called that name a place to write to.
WRITTEN = {"json", "plot", "out", "pictures", "checkpoint", "scenes"}
# What a command must have, so that its places are looked at.
NEEDED = {
    ("accuracy",): ["/nowhere"], ("blocks",): ["--data", "/nowhere"], ("evaluate",): ["/nowhere"],
    ("explain",): ["/nowhere"], ("import",): ["/nowhere.py:Net", "--out", "unused.bundle"],
}  # fmt: skip
WORDS = ("nan", "inf", "-inf", "1e999", "", "x", "0x10", "9" * 5000)


def walk(parser, words=()):
    """(words of the command, action) of every command's every option."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                yield from walk(below, (*words, name))
        elif words:
            yield words, action


OPTIONS = list(walk(_parser()))
NUMBERS = [each for each in OPTIONS if isinstance(each[1].type, Whole | Real)]
WRITES = [each for each in OPTIONS if isinstance(each[1].type, places.Place)]


def name_of(each):
    words, action = each
    return " ".join((*words, (action.option_strings or [action.dest])[-1]))


def refusal(capsys, command, action, text):
    """Give an option this text; return the line that says why not."""
    values = [text] * (action.nargs if isinstance(action.nargs, int) else 1)
    if not action.option_strings:
        given = values
    elif len(values) > 1:
        given = [action.option_strings[-1], *values]
    else:  # with =, so that what begins with a dash is not taken for an option
        given = [f"{action.option_strings[-1]}={text}"]
    status = main([*command, *NEEDED.get((*command,), ()), *given])
    lines = capsys.readouterr().err.splitlines()
    assert status == 2, (given, lines)
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ")
    return lines[0]


def test_the_walk_finds_all_commands():
    found = {words[0] for words, _ in OPTIONS}
    assert {"plan", "train", "import", "reproduce", "top"} <= found
    assert len(NUMBERS) > 60
    assert len(WRITES) > 20


def test_no_number_is_without_a_range():
    assert not [name_of(each) for each in OPTIONS if each[1].type in (int, float)]


def test_no_place_to_write_to_is_unchecked():
    unchecked = [
        name_of(each)
        for each in OPTIONS
        if each[1].dest in WRITTEN
        and each[1].nargs != 0
        and not isinstance(each[1].type, places.Place)
    ]
    assert not unchecked


@pytest.mark.parametrize("each", NUMBERS, ids=name_of)
def test_a_number_out_of_range_is_refused_before_the_work(capsys, each):
    command, action = each
    kind, words = action.type, [*WORDS, "1_000"]
    if isinstance(kind, Whole):
        words += ["1.5", str(kind.most + 1)]
    elif kind.most < float("inf"):
        words += [str(kind.most + 1)]
    if kind.least > -float("inf"):
        words += [str(kind.least - 1), *(["0"] if getattr(kind, "open", False) else [])]
    for text in words:
        if text.startswith("-") and isinstance(action.nargs, int):
            continue  # argparse takes it for an option, and refuses it
        line = refusal(capsys, command, action, text)
        assert action.option_strings[-1] in line
        assert len(line) < 400


@pytest.mark.parametrize("each", NUMBERS, ids=name_of)
def test_a_default_is_in_the_range(each):
    _, action = each
    values = action.default if isinstance(action.default, tuple | list) else [action.default]
    for value in values:
        # No limit is a default that nobody can give.
        assert value in (None, float("inf")) or action.type(f"{value}") == value


@pytest.mark.parametrize("each", WRITES, ids=name_of)
def test_a_place_that_cannot_be_written_is_refused_before_the_work(capsys, each, tmp_path):
    command, action = each
    (tmp_path / "file").write_text("kept")
    (tmp_path / "folder" / "with").mkdir(parents=True)
    (tmp_path / "loop").symlink_to("loop")
    suffix = ".png" if action.type is places.FIGURE_FILE else ""
    impossible = [
        f"/proc/nothing/here{suffix}",
        f"{tmp_path}/file/below{suffix}",
        f"{tmp_path}/loop/x{suffix}",
        "n" * 300 + suffix,
    ]
    if action.type in FOLDERS:
        impossible.append(f"{tmp_path}/file")
    else:
        impossible.append(f"{tmp_path}/folder")
    if action.type in (places.NEW_FOLDER, places.BUNDLE_FOLDER):
        impossible.append(f"{tmp_path}/folder")
    if action.type in (places.OUTPUT_FILE, places.FIGURE_FILE):
        impossible.append(f"{tmp_path}/new/x{suffix}")
    if action.option_strings:
        impossible += ["", " "]
    for text in impossible:
        refusal(capsys, command, action, text)
    assert (tmp_path / "file").read_text() == "kept"
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("each", WRITES, ids=name_of)
def test_trying_a_place_leaves_nothing(each, tmp_path):
    place = each[1].type
    place.check(tmp_path / "x.png")
    if place in (*FOLDERS, places.OUTPUT_FILE_IN_NEW_FOLDER):
        place.check(tmp_path / "a" / "b" / "c.png")
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_there_stays_as_it_is(tmp_path):
    file, link = tmp_path / "x.json", tmp_path / "link.json"
    file.write_text("{}")
    os.utime(file, (1, 1))
    link.symlink_to(file)
    places.OUTPUT_FILE.check(link)
    assert file.read_text() == "{}"
    assert file.stat().st_mtime == 1
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(CodesignError, match="cannot write"):
        places.OUTPUT_FILE.check(tmp_path / "loop")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere" / "x")
    with pytest.raises(CodesignError, match="cannot write"):
        places.OUTPUT_FILE.check(tmp_path / "dangling")


def test_a_pipe_can_be_written_and_stays(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    places.OUTPUT_FILE.check(tmp_path / "pipe")
    reader, writer = os.pipe()
    places.OUTPUT_FILE.check(Path(f"/dev/fd/{writer}"))
    os.close(reader)
    os.close(writer)


def test_two_results_in_one_file_are_refused(tmp_path, capsys):
    same = ["--json", str(tmp_path / "x.png"), "--plot", f"{tmp_path}/../{tmp_path.name}/x.png"]
    assert main(["plan", *same]) == 2
    assert re.search(r"error: --\w+ and --\w+ both write .*x\.png", capsys.readouterr().err)


@pytest.mark.parametrize("text", ["", "x", "0x10", "10x0", "-1x5", "²x3", "1e3x3", "99999x10", "8"])
def test_a_size_has_two_sides(text):
    with pytest.raises(argparse.ArgumentTypeError, match="is not a size such as 400x640"):
        image_size(text)
    assert image_size("400x640") == (400, 640)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (["evalute"], "did you mean evaluate?"),
        (["Plan"], "did you mean plan?"),
        (["plan", "--robt", "jetson-nano"], "there is no option --robt; did you mean --robot?"),
        (["plan", "--robot", "jetson-nanoo"], "did you mean jetson-nano?"),
        (["plan", "--link", "wfi"], "did you mean wifi"),
        (["plan", "--policy", "our"], "did you mean ours?"),
        (["plan", "--merge", "flod"], "did you mean fold?"),
        (["import", "--ouut", "x"], "did you mean --out?"),
        (["train", "x", "--framse=3"], "there is no option --framse; did you mean --frames?"),
        (["reproduce", "tabel2"], "did you mean table2?"),
        (["evaluate", "mine:1", "--frames", "1", "--codec", "jpg"], "did you mean jpeg?"),
        (["evaluate", "mine:1", "--frames", "1", "--backend", "onxruntime"], "mean onnxruntime?"),
        (["plan", "extra"], "'extra' is too much"),
        (["--verson"], "there is no option --verson"),
    ],
)
def test_it_says_what_was_meant(capsys, given, meant):
    assert main(given) == 2
    *_, line = capsys.readouterr().err.splitlines()
    assert meant in line


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (["trace", "--robot", "bad name"], "'bad name' is no namespace"),
        (["trace", "--robot", ""], "'' is no namespace"),
        (["split-train", "--convergence", "--steps", "4"], "not --steps"),
        (["plan", "--link", "99999999999999999999gbps"], "unknown link"),
        (["explain", "mine:1:99999999999999"], "whole numbers from 0 to"),
        (["evaluate", "mine:99999999999", "--frames", "1"], "whole number from 0 to"),
        (["evaluate", f"mine:{'9' * 5000}", "--frames", "1"], "File name too long"),
        (["plan", "--fleet", "n" * 300], "File name too long"),
        (["train", "OUT", "--init", "/nowhere", "--steps", "1"], "there is no bundle at /nowhere"),
        (["accuracy", "BUNDLE", "--data", "scenes:1", "--frames", "1", "--metric", "beauty"],
         "'beauty' is not measured on these frames; there are accuracy"),
    ],
)  # fmt: skip
def test_a_mistake_is_found_before_the_work(capsys, tiny_bundle, tmp_path, given, text):
    names = {"BUNDLE": str(tiny_bundle.path), "OUT": str(tmp_path / "out")}
    assert main([names.get(each, each) for each in given]) == 2
    (line,) = (e for e in capsys.readouterr().err.splitlines() if e.startswith("error: "))
    assert text in line


@pytest.mark.parametrize("given", [[], ["reproduce"]])
def test_a_group_alone_shows_its_help(capsys, given):
    assert main(given) == 0
    shown = capsys.readouterr()
    assert "usage:" in shown.out
    assert not shown.err


PROGRAM = (sys.executable, "-c", "from codesign_ros.cli.main import main; raise SystemExit(main())")


@pytest.mark.parametrize("given", [["--help"], ["plan", "--help"], ["accuracy", "BUNDLE"]])
def test_it_ends_quietly_when_nobody_reads(tiny_bundle, given):
    given = [str(tiny_bundle.path) if each == "BUNDLE" else each for each in given]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [*PROGRAM, *given], stdout=writer, stderr=subprocess.PIPE, text=True, timeout=120
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_one_line(tiny_bundle):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*PROGRAM, "accuracy", str(tiny_bundle.path)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
        )
    assert done.returncode == 2
    assert done.stderr == "error: cannot write the result: No space left on device\n"


def test_without_a_standard_output_a_command_does_its_work(tiny_bundle, tmp_path):
    command = [*PROGRAM, "accuracy", str(tiny_bundle.path), "--json", str(tmp_path / "x.json")]
    closed = ["sh", "-c", 'exec "$@" >&-', "sh", *command]
    done = subprocess.run(closed, stderr=subprocess.PIPE, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "x.json").exists()
