"""Computational intensities as tables for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Column, Table

from codesign_ros.console import right, slim_table


def table2_table(content: Mapping[str, Any]) -> Table:
    """The comparison of Table II as a table."""
    mark = ", the closest to the paper" if content["accounting"] == content["closest"] else ""
    table = slim_table(
        f"Table II at 224x224 by {content['accounting']}{mark}",
        Column("network", no_wrap=True),
        "structure",
        *right("G op", "MB", "op/byte", "paper", "difference"),
    )
    for network in content["networks"]:
        name = f"{network['name']} {network['variant']}"
        for form in ("original", "folded"):
            row = network[form]
            table.add_row(
                name if form == "original" else "",
                form,
                f"{row['operations'] / 1e9:.2f}",
                f"{row['bytes'] / 1e6:.1f}",
                f"{row['flops_per_byte']:.2f}",
                f"{row['paper']:.2f}",
                f"{row['difference']:+.1%}",
            )
        table.add_row(
            "",
            "change",
            "",
            "",
            f"{network['change_by_folding']:+.1%}",
            f"{network['change_by_folding_paper']:+.1%}",
            "",
        )
    return table


def accountings_table(content: Mapping[str, Any]) -> Table:
    """All accountings, the closest first."""
    words = {row["name"].partition("/")[0]: row["operations"] for row in content["accountings"]}
    table = slim_table(
        "Accountings by mean |log(ours / Table II)|, closest first",
        Column("accounting", no_wrap=True),
        *right("log ratio"),
        "RepVGG",
        "what counts as a byte (fp32: 4 for each element)",
        caption="\n".join(f"{name}: {text}" for name, text in sorted(words.items())),
    )
    for row in content["accountings"]:
        log_ratio = f"{row['mean_abs_log_ratio']:.3f}"
        table.add_row(row["name"], log_ratio, row["repvgg"], row["bytes"])
    return table


def table3_table(content: Mapping[str, Any]) -> Table:
    """The comparison of Table III as a table."""
    table = slim_table(
        f"Table III, our intensities by {content['accounting']}",
        Column("network", no_wrap=True),
        *("verdict", *right("op/byte")),
        *(f"{n.removeprefix('jetson-')}\nI_m {i:.2f}" for n, i in content["devices"].items()),
        caption="* other than printed",
    )
    for model in content["models"]:
        for label, key, value in (
            ("printed", "printed", model["paper"]),
            ("from the paper's figures", "from_printed_figures", model["paper"]),
            ("ours", "ours", model["flops_per_byte"]),
        ):
            verdicts = model["verdicts"].values()
            table.add_row(
                f"{model['name']} {model['variant']}" if key == "printed" else "",
                label,
                f"{value:.2f}",
                *(v[key] + ("" if v[key] == v["printed"] else " *") for v in verdicts),
            )
    return table
