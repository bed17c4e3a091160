"""A snapshot as tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from codesign_ros.console import link_rate, ms, right, slim_table
from codesign_ros.overview.snapshot import RobotState, Snapshot

_STYLES = {"OK": "green", "WARN": "yellow", "ERROR": "bold red", "STALE": "red", "": "dim"}


def view(snapshot: Snapshot) -> RenderableType:
    """Robots, servers, nodes, and what is waited for."""
    parts: list[RenderableType] = []
    if snapshot.waits_for:
        parts.append(Text(f"waits for {snapshot.waits_for}", "yellow"))
    if snapshot.robots:
        parts += [_plans(snapshot), _frames(snapshot)]
    if snapshot.servers:
        parts.append(_servers(snapshot))
    if snapshot.nodes:
        parts.append(_nodes(snapshot))
    return Group(*parts)


def _plans(snapshot: Snapshot) -> Table:
    table = slim_table(
        "plans",
        "robot",
        *right("epoch", "cut"),
        "codec",
        "served by",
        *right("predicted", "measured", "response", "link", "delay"),
    )
    for each in snapshot.robots:
        table.add_row(
            Text(each.robot),
            _number(each.epoch),
            _number(each.cut),
            each.codec or "-",
            _server_of(each),
            _time(each.predicted_s),
            _time(each.measured_s),
            _time(each.response_s),
            link_rate(each.link_bps) if each.link_bps else "-",
            _time(each.link_delay_s),
        )
    return table


def _server_of(robot: RobotState) -> Text:
    if robot.alone:
        return Text("the robot, by itself", "yellow")
    return Text(robot.served_by or ("the robot alone" if robot.epoch is not None else "-"))


def _frames(snapshot: Snapshot) -> Table:
    table = slim_table(
        "frames",
        "robot",
        *right("in 1/s", "out 1/s", "server", "robot", "fallback", "dropped", "in flight"),
        "drops by reason",
    )
    for each in snapshot.robots:
        counts = [_number(each.finished_by.get(name)) for name in ("server", "robot", "fallback")]
        dropped = each.finished_by.get("dropped")
        table.add_row(
            Text(each.robot),
            _rate(each.frames_per_s),
            _rate(each.results_per_s),
            *counts,
            Text(_number(dropped), "red" if dropped else ""),
            _in_flight(each),
            _reasons(each.drops),
        )
    return table


def _in_flight(robot: RobotState) -> Text:
    text = Text(_number(robot.in_flight))
    if robot.unaccounted:
        text.append(f", {robot.unaccounted} unaccounted for", "red")
    return text


def _servers(snapshot: Snapshot) -> Table:
    table = slim_table(
        "servers",
        "tail",
        *right("epoch", "in 1/s", "out 1/s", "shared by"),
        "refused by reason",
        "throttled",
    )
    for each in snapshot.servers:
        table.add_row(
            Text(each.node),
            _number(each.epoch),
            _rate(each.embeddings_per_s),
            _rate(each.answers_per_s),
            _number(each.engines_shared_by),
            _reasons(each.refusals),
            Text(each.throttled or "-"),
        )
    return table


def _nodes(snapshot: Snapshot) -> Table:
    table = slim_table("nodes", "node", "state", *right("heard"), "waits for")
    for each in snapshot.nodes:
        heard = "never" if each.silent_s is None else f"{each.silent_s:.0f} s ago"
        table.add_row(
            Text(each.node),
            Text(each.message or "-", _STYLES.get(each.level, "")),
            heard,
            Text(each.waits_for or "-"),
        )
    return table


def _reasons(counts: Mapping[str, int]) -> Text:
    most_first = sorted(counts.items(), key=lambda item: -item[1])
    return Text(", ".join(f"{count} {reason}" for reason, count in most_first if count) or "-")


def _number(value: int | None) -> str:
    return "-" if value is None else str(value)


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _time(value_s: float | None) -> str:
    return "-" if value_s is None else ms(value_s)
