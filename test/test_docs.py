"""README and docs: links resolve, nothing generated is stale, every message is explained."""

import ast
import re
import shlex
import subprocess
import sys
from importlib.util import find_spec

import pytest

from codesign_ros.cli.main import _parser
from support.paths import ROOT

PAGES = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")]
PAGES += sorted((ROOT / "docs").glob("*.md"))

# Bytes of a README that fits a screen or two.
MOST_README_BYTES = 10_000

# Shorter pieces of a message tell nothing.
LEAST_LETTERS = 9


def without_code(text):
    """A page without its blocks of code, in which brackets are no links."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"^    .*$", "", text, flags=re.MULTILINE)


def links_of(page):
    text = re.sub(r"`[^`]*`", "", without_code(page.read_text(encoding="utf-8")))
    return [link.split()[0] for link in re.findall(r"\]\(([^)]+)\)", text)]


def anchors_of(page):
    """Anchors that GitHub gives the headings of a page."""
    headings = re.findall(
        r"^#+ (.+)$", without_code(page.read_text(encoding="utf-8")), flags=re.MULTILINE
    )
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_resolve(page):
    for link in links_of(page):
        target, _, anchor = link.partition("#")
        if "://" in target:
            continue
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), f"{page.name} links to {link}"
        assert not anchor or anchor in anchors_of(file), f"{page.name} links to {link}"


def test_the_readme_is_short_and_links_every_page():
    readme = ROOT / "README.md"
    assert readme.stat().st_size <= MOST_README_BYTES
    linked = {(ROOT / link.partition("#")[0]).resolve() for link in links_of(readme)}
    assert not [page.name for page in PAGES if page != readme and page not in linked]


def test_the_floor_plan_has_every_room():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    package = ROOT / "codesign_ros"
    rooms = {path.parent.name for path in package.glob("*/__init__.py")}
    rooms |= {path.stem for path in package.glob("*.py")} - {"__init__"}
    assert not [room for room in sorted(rooms) if f"`{room}`" not in page]


@pytest.mark.parametrize(
    ("script", "timeout_s"),
    [
        pytest.param(
            "write_ros_interface",
            120,
            marks=pytest.mark.skipif(
                not all(find_spec(name) for name in ("rclpy", "codesign_ros.msg")),
                reason="no ROS 2 here, from whose nodes the page is written",
            ),
        ),
        ("write_reproduction", 900),
    ],
)
def test_a_page_that_is_written_by_a_script_is_fresh(script, timeout_s):
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / script), "--check"],
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )
    assert done.returncode == 0, done.stderr


def commands():
    """(page, arguments) of every `codesign` command in a block of code."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for line in re.findall(r"^    ((?:make|codesign) .+)$", text, re.MULTILINE):
            words = shlex.split(line, comments=True)
            if words[:2] in (["make", "codesign"], ["make", "demo"]):
                demo = ["demo"] if words[1] == "demo" else []
                arguments = " ".join(words[2:]).removeprefix("ARGS=")
                yield page.name, [*demo, *shlex.split(arguments)]
            elif words[0] == "codesign":
                yield page.name, words[1:]


def refusal_of(arguments):
    """Exit status with which the command line refuses arguments; 0 = it does not."""
    try:
        _parser().parse_args(arguments)
    except SystemExit as ended:  # --help ends with 0
        return ended.code
    return 0


def test_commands_can_be_given():
    found = list(commands())
    assert len(found) > 20
    assert not [(page, arguments) for page, arguments in found if refusal_of(arguments)]


def pieces_of(argument):
    """What stands literally in a message between what is filled in."""
    if isinstance(argument, ast.JoinedStr):
        texts = [each.value if isinstance(each, ast.Constant) else None for each in argument.values]
    elif isinstance(argument, ast.Constant) and isinstance(argument.value, str):
        texts = [argument.value]
    else:
        texts = []
    return [text.strip() for text in texts if text is not None]


def messages():
    """(place, piece): the longest literal piece of every message that a user can meet."""
    trees = {
        path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted((ROOT / "codesign_ros").rglob("*.py"))
    }
    bases = {
        node.name: {ast.unparse(base) for base in node.bases}
        for tree in trees.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    errors = {"CodesignError"}
    errors |= {name for name, of in bases.items() if of & errors}
    for place, tree in trees.items():
        logs = place.startswith("codesign_ros/nodes/")
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func)
            logged = logs and name.endswith(("().warning", "().error", "_log.warning"))
            if name not in errors and not logged:
                continue
            # The last: a WireError has a keyword before its text.
            pieces = pieces_of(node.args[-1]) if node.args else []
            piece = max(pieces, key=len, default="")
            if sum(map(str.isalpha, piece)) >= LEAST_LETTERS:
                yield f"{place}:{node.lineno}", piece


def test_every_message_is_explained():
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8").replace("\\|", "|")
    page = " ".join(page.split())
    missing = [f"{place}: {piece}" for place, piece in messages() if piece not in page]
    assert not missing, "docs/troubleshooting.md does not explain:\n" + "\n".join(missing)
