"""Computational intensities as tables for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from codesign_ros.console import slim_table


def table2_table(content: Mapping[str, Any]) -> Table:
    """The comparison of Table II as a table."""
    mark = ", the closest to the paper" if content["accounting"] == content["closest"] else ""
    table = slim_table(f"Table II at 224x224 by {content['accounting']}{mark}")
    table.add_column("network", no_wrap=True)
    table.add_column("structure")
    for name in ("G op", "MB", "op/byte", "paper", "difference"):
        table.add_column(name, justify="right")
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
    table = slim_table("Accountings by mean |log(ours / Table II)|, closest first")
    table.add_column("accounting", no_wrap=True)
    table.add_column("log ratio", justify="right")
    table.add_column("RepVGG")
    table.add_column("what counts as a byte (fp32: 4 for each element)")
    for row in content["accountings"]:
        log_ratio = f"{row['mean_abs_log_ratio']:.3f}"
        table.add_row(row["name"], log_ratio, row["repvgg"], row["bytes"])
    words = {row["name"].partition("/")[0]: row["operations"] for row in content["accountings"]}
    table.caption = "\n".join(f"{name}: {text}" for name, text in sorted(words.items()))
    table.caption_justify = "left"
    return table


def table3_table(content: Mapping[str, Any]) -> Table:
    """The comparison of Table III as a table."""
    table = slim_table(f"Table III, our intensities by {content['accounting']}")
    table.add_column("network", no_wrap=True)
    table.add_column("verdict")
    table.add_column("op/byte", justify="right")
    for name, ridge in content["devices"].items():
        table.add_column(f"{name.removeprefix('jetson-')}\nI_m {ridge:.2f}")
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
    table.caption = "* other than printed"
    table.caption_justify = "left"
    return table
