"""What the launch file is given, checked before any node starts: a typing error costs no search.

Without ROS and without what the nodes need: `ros2 launch` may run in another Python than they do.
"""

from __future__ import annotations

import difflib
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from codesign_ros.types.errors import CodesignError, one_line

NO_CAMERA = "none"
NODES = ("camera", "head", "tail", "planner")

# Sources that the camera invents; a robot plays them only when it is told to.
_INVENTED = ("mine", "scenes")
_NAMESPACE = re.compile(r"/?[A-Za-z_]\w*(/[A-Za-z_]\w*)*/?", re.ASCII)
_ANY = ("*", "**")
# The nodes that an argument is for, where these are not all.
_MEANT_FOR = {
    "camera": ("camera",),
    "bag": ("camera",),
    "image": ("camera", "head"),
    "image_transport": ("camera", "head"),
    "together": ("camera",),
    "robots": ("tail",),
    "server": ("tail",),
    "lambda_1": ("planner",),
    "objective": ("planner",),
}
# Parameters that an error may name, and what a launch file calls them.
_ARGUMENT_OF = {"source_topic": "bag_topic:="}
_NOTHING = ("", "false", NO_CAMERA)


class LaunchError(CodesignError):
    """A launch argument that cannot be used, or a node that ended; one line says which and why."""


def check_names(words: Iterable[str], known: Sequence[str]) -> None:
    """Refuse arguments that nobody declared or that have two values: `ros2 launch` takes both.

    Args:
        words: as on the command line.
        known: names that the launch file declares.

    Raises:
        LaunchError: one is none of them, or is there with two values.
    """
    values: dict[str, str] = {}
    for word in words:
        name, given, value = word.partition(":=")
        if given and values.setdefault(name, value) != value:
            raise LaunchError(f"launch argument {name} is given twice: {values[name]} and {value}")
        if given and name not in known:
            raise LaunchError(
                f"launch argument {name} is not known{_nearest(name, known)}; known are "
                f"{', '.join(known)}"
            )


def namespace(name: str, value: str) -> str:
    """Return a namespace with its slash in front.

    Raises:
        LaunchError: it is none.
    """
    if not _NAMESPACE.fullmatch(value):
        raise LaunchError(
            f"{name}:={value} is no name: letters, digits and underscores, no digit first, as in "
            f"{name}:=/miner1"
        )
    return f"/{value.strip('/')}"


def server(value: str) -> str:
    """Return the name of a server, one word; empty where none is given.

    Raises:
        LaunchError: it is none.
    """
    name = value.strip("/")
    if name and ("/" in name or not _NAMESPACE.fullmatch(name)):
        raise LaunchError(
            f"server:={value} is no name: letters, digits and underscores, no digit first, as in "
            "server:=edge1"
        )
    return name


def robots(value: str) -> list[str]:
    """Return the namespaces of a list with commas; one at its end does not matter.

    Raises:
        LaunchError: there is none in it, or one that is no namespace.
    """
    names = [name.strip() for name in value.split(",") if name.strip()]
    if not names:
        raise LaunchError(f"robots:={value} names no robot; give some, as in robots:=miner1,miner2")
    return [namespace("robots", name) for name in names]


def topic(name: str, value: str) -> str:
    """Return the name of a topic.

    Raises:
        LaunchError: it is none.
    """
    if not _NAMESPACE.fullmatch(value) or value.endswith("/"):
        raise LaunchError(
            f"{name}:={value} is no topic; give its name, as in {name}:=/cam/image_raw"
        )
    return value


def images_from(robot: str, image: str, transport: str) -> str:
    """Say from which topics a head takes its images, as image_transport has them.

    Args:
        robot: its namespace.
        image: as in ``image:=``, in either form; empty where it is not given.
        transport: ``compressed``, ``raw`` or ``auto``.
    """
    name = image if image.startswith("/") else f"{robot}/{image or 'image_raw'}"
    raw = name.removesuffix("/compressed")
    compressed = f"{raw}/compressed"
    return {"raw": raw, "compressed": compressed}.get(transport, f"{compressed} or {raw}")


def number(name: str, value: str) -> float:
    """Return a number.

    Raises:
        LaunchError: it is none, or not finite.
    """
    try:
        found = float(value) if "_" not in value else math.nan  # Python takes 1_000
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise LaunchError(f"{name}:={value} is no number; give one, as in {name}:=1.0")
    return found


def existing(name: str, value: str) -> str:
    """Return the full path of a file or directory.

    Raises:
        LaunchError: it is not there.
    """
    path = os.path.realpath(os.path.expanduser(value))
    if not os.path.exists(path):
        raise LaunchError(f"{name}:={one_line(value)}: there is no {one_line(path)}")
    return path


def read_params(value: str) -> Mapping[str, Any]:
    """Read a parameter file, as far as it tells what to start; ROS itself reads it again.

    Raises:
        LaunchError: it is not there, is no YAML, or has a section for a node whose name is nearly
            one of ours, or of ours in a place where none is: that node would get nothing of it.
    """
    path = Path(existing("params", value))
    if not path.is_file():
        raise LaunchError(f"params:={value} cannot be read: {path} is no file")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        # PyYAML's own ValueErrors are of a date or a number.
        raise LaunchError(f"params:={value} cannot be read: {one_line(error)}") from None
    if not isinstance(content, dict):
        raise LaunchError(f"params:={value} has no parameters: it needs '/**/head:' and the like")
    for section, held in content.items():
        last = str(section).rstrip("/").rpartition("/")[2]
        near = difflib.get_close_matches(last, NODES, n=1, cutoff=0.75)
        if near and last not in NODES:
            raise LaunchError(
                f"params:={value}: no node is called {section}; did you mean {near[0]}?"
            )
        if last in NODES and last == str(section).strip("/"):
            raise LaunchError(
                f"params:={value}: {section} is a node in no namespace, and none is started there: "
                f"write /**/{last}, which holds in any"
            )
        ours = last in (*NODES, *_ANY)
        if ours and isinstance(held, dict) and not _has_parameters(held):
            raise LaunchError(
                f"params:={value}: {section} has no ros__parameters (with two underscores) below it"
            )
    return content


def _has_parameters(section: Mapping[str, Any]) -> bool:
    """Whether a section has parameters, or sections of namespaces that may."""
    return "ros__parameters" in section or any(
        isinstance(held, dict) and _has_parameters(held) for held in section.values()
    )


def camera_source(given: Mapping[str, str], params: Mapping[str, Any]) -> str | None:
    """Say what the camera plays.

    Args:
        given: launch arguments by name.
        params: content of the parameter file.

    Returns:
        Its source; empty where the parameter file has it, None where no camera is to be started:
        the robot has a driver of its own. What is invented is played on a robot only if it is
        named.

    Raises:
        LaunchError: two arguments name a source, or a path that is not there.
    """
    camera, bag = given["camera"], given["bag"]
    if camera and bag:
        raise LaunchError(
            f"camera:={camera} and bag:={bag} both say where frames come from; give one"
        )
    if bag:
        return existing("bag", bag)
    if camera == NO_CAMERA:
        return None
    if camera:
        path = os.path.realpath(os.path.expanduser(camera))
        if camera.isdecimal() and not os.path.exists(path):
            raise LaunchError(
                f"camera:={camera} is no source; a camera has a path, /dev/video{camera}"
            )
        return path if os.path.exists(path) else camera
    source = _source_in(params)
    invented = source.partition(":")[0] in _INVENTED
    return None if given["role"] == "robot" and invented else ""


def _source_in(params: Mapping[str, Any]) -> str:
    """The camera's source in a parameter file; what its parameter has without one is invented."""
    source = _INVENTED[0]
    for section, held in params.items():
        last = str(section).rstrip("/").rpartition("/")[2]
        if last in ("camera", *_ANY) and isinstance(held, dict):
            values = held.get("ros__parameters")
            if isinstance(values, dict) and "source" in values:
                source = str(values["source"])
            nested = held.get("camera")
            if last in _ANY and isinstance(nested, dict):
                source = _source_in({"camera": nested})
    return source


def without_effect(given: Mapping[str, str], started: Sequence[str]) -> list[str]:
    """Say which arguments none of the nodes takes that are started, a line each.

    No mistake: the robot and its server may be started with the same words but for the role.

    Args:
        given: launch arguments by name.
        started: the nodes.
    """
    return [
        f"{name}:={given[name]} has no effect: it is for the {' and the '.join(nodes)}, and "
        f"{', '.join(started)} are started"
        for name, nodes in _MEANT_FOR.items()
        if given[name] not in _NOTHING and not set(nodes) & set(started)
    ]


def without_reader(params: Mapping[str, Any], started: Sequence[str]) -> list[str]:
    """Say which sections of a parameter file none of the nodes reads that are started, a line each.

    No mistake: a file may be for several robots. Those for nodes of ours that the role does not
    start, and for nodes of others, are as they should be.

    Args:
        params: content of the file.
        started: full names of the nodes.
    """
    last_names = {name.rpartition("/")[2] for name in started}
    return [
        f"params: {section} has no effect: no node of that name is started, but "
        f"{', '.join(started)}"
        for section in _sections(params, "")
        if section.rpartition("/")[2] in last_names.union(_ANY)
        and not any(_names(section).fullmatch(name) for name in started)
    ]


def _sections(held: Mapping[str, Any], above: str) -> Iterator[str]:
    """Full names, with wildcards, of the nodes that have parameters in a file."""
    for name, below in held.items():
        if name == "ros__parameters":
            yield above
        elif isinstance(below, dict):
            yield from _sections(below, f"{above}/{str(name).strip('/')}")


def _names(section: str) -> re.Pattern[str]:
    """The names that a section is for: * is one part of a name, ** any number of them."""
    escaped = re.escape(section)
    return re.compile(escaped.replace(r"/\*\*", r"(/\w+)*").replace(r"/\*", r"(/\w+)"))


def why_ended(node: str, status: int, last_error: str) -> str:
    """One line about a node that ended by itself.

    Args:
        node: its program.
        status: exit status; negative = number of the signal.
        last_error: the last line of its own that says why; empty = it said none.
    """
    for parameter, argument in _ARGUMENT_OF.items():
        last_error = last_error.replace(parameter, argument)
    how = f"signal {-status}" if status < 0 else f"exit status {status}"
    return f"{node} ended: {last_error or f'{how}; its last lines are above'}"


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f", did you mean {near[0]}?" if near else ""
