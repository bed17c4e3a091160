"""The paper's Tables II and III beside what this package works out, as plain values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from codesign_ros.cost.intensity import (
    ACCOUNTINGS,
    OPERATIONS,
    Forms,
    intensities,
    memory_bytes,
    operations,
    what_counts,
)
from codesign_ros.cost.roofline import is_compute_bound
from codesign_ros.paper.printed import TABLE_2, TABLE_3, TABLE_3_DEVICES, Table3Row
from codesign_ros.paper.zoo import Zoo
from codesign_ros.types.devices import DeviceSpec

_REPVGG, _RESNET = "RepVGG", "Rep-ResNet-50"


def table2(zoo: Zoo, accounting: str | None = None) -> dict[str, Any]:
    """Compare the intensities of Table II, as plain values.

    Args:
        zoo: the networks.
        accounting: what counts; None = the one that comes closest to the paper.

    Raises:
        CodesignError: there is no such accounting.
    """
    chosen = zoo.closest if accounting is None else accounting
    counted, counted_bytes = what_counts(chosen)
    networks = []
    for name, paper in TABLE_2.items():
        variant = zoo.variant(name, chosen)
        forms = zoo.forms[name][variant]
        ours = intensities(forms, chosen)
        rows = zip(operations(forms, chosen), memory_bytes(forms, chosen), ours, paper, strict=True)
        original, folded = (
            {
                "operations": c,
                "bytes": m,
                "flops_per_byte": i,
                "paper": theirs,
                "difference": i / theirs - 1,
            }
            for c, m, i, theirs in rows
        )
        least = _least_change(forms)
        alone = zoo.alone(name)
        networks.append(
            {
                "name": name,
                "variant": variant,
                "original": original,
                "folded": folded,
                "change_by_folding": ours.folded / ours.original - 1,
                "change_by_folding_paper": paper.folded / paper.original - 1,
                "change_by_folding_at_least": least,
                "bytes_added_by_folding_in_the_paper": (1 + least) * paper.original / paper.folded
                - 1,
                "alone": {"accounting": alone, "log_ratio": zoo.network_distance(name, alone)},
            }
        )
    ranked = sorted(zoo.distances, key=zoo.distances.__getitem__)
    return {
        "accounting": chosen,
        "operations": counted,
        "bytes": counted_bytes,
        "closest": zoo.closest,
        "networks": networks,
        "accountings": [
            {
                "name": each,
                "operations": what_counts(each)[0],
                "bytes": what_counts(each)[1],
                "mean_abs_log_ratio": zoo.distances[each],
                "repvgg": zoo.variant(_REPVGG, each),
            }
            for each in ranked
        ],
        "notes": _table2_notes(zoo, networks),
    }


def _least_change(forms: Forms) -> float:
    """By how much folding changes the intensity if it changes no byte, at its most negative.

    Folding removes operations and never adds a byte, so no accounting gets below this.
    """
    changes = (count(forms.folded) / count(forms.original) - 1 for _, count in OPERATIONS.values())
    return min(changes)


def _table2_notes(zoo: Zoo, networks: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say where the paper's figures cannot be reached, and why."""
    notes = [
        "Folded, a network has the shape of the plain one that it was made from, with BatchNorm "
        "fused; so the plain one's intensity is that of the folded one.",
        "The paper does not say which RepVGG it has; of those published the closest is taken.",
        "No accounting is close for all: alone, "
        + ", ".join(
            f"{n['name']} is off by {math.expm1(n['alone']['log_ratio']):.0%} under "
            f"{n['alone']['accounting']}"
            for n in networks
        )
        + ".",
    ]
    beyond = [n for n in networks
              if n["change_by_folding_paper"] < n["change_by_folding_at_least"]]  # fmt: skip
    if beyond:
        falls = [-n["change_by_folding_paper"] for n in beyond]
        limits = [-n["change_by_folding_at_least"] for n in beyond]
        added = [n["bytes_added_by_folding_in_the_paper"] for n in beyond]
        notes.append(
            f"Out of reach: in the paper folding lowers the intensity by {min(falls):.0%} to "
            f"{max(falls):.0%}. It takes away {min(limits):.1%} to {max(limits):.1%} of the "
            "operations and adds no byte, since 1x1 and identity branches go into a kernel that is "
            "there anyway; so it cannot lower C / M by more than that. The printed pairs would "
            f"need folding to add {min(added):.0%} to {max(added):.0%} of bytes: "
            f"{', '.join(n['name'] for n in beyond)}."
        )
    printed = TABLE_2[_REPVGG].original / TABLE_2[_RESNET].original
    ratio, accounting = min(
        (
            intensities(forms, each).original / zoo.network_intensities(_RESNET, each).original,
            each,
        )
        for each in ACCOUNTINGS
        for forms in zoo.forms[_REPVGG].values()
    )
    if printed < ratio:
        notes.append(
            f"Out of reach: the paper's {_REPVGG} has {printed:.2f} times the intensity of its "
            f"{_RESNET}. The least that any RepVGG has here is {ratio:.2f} times, under "
            f"{accounting}: no accounting serves both rows."
        )
    return notes


def table3(zoo: Zoo, devices: Mapping[str, DeviceSpec]) -> dict[str, Any]:
    """Compare the verdicts of Table III, as plain values.

    A network is constrained by computing (CC) where its intensity is at least I_m = pi / beta
    (Eq. 2), else by memory (MC).

    Args:
        zoo: the networks; ours are those of their original form, as in the paper.
        devices: at least those of ``TABLE_3_DEVICES``.
    """
    specs = {name: devices[name] for name in TABLE_3_DEVICES}
    models = []
    for name, row in TABLE_3.items():
        variant = zoo.variant(name, zoo.closest)
        ours = intensities(zoo.forms[name][variant], zoo.closest).original
        models.append(
            {
                "name": name,
                "variant": variant,
                "flops_per_byte": ours,
                "paper": row.intensity,
                "difference": ours / row.intensity - 1,
                "verdicts": {
                    device: {
                        "printed": row.verdicts[device],
                        "from_printed_figures": verdict(row.intensity, spec),
                        "ours": verdict(ours, spec),
                    }
                    for device, spec in specs.items()
                },
            }
        )
    return {
        "accounting": zoo.closest,
        "operations": what_counts(zoo.closest)[0],
        "bytes": what_counts(zoo.closest)[1],
        "devices": {name: spec.ridge_intensity for name, spec in specs.items()},
        "models": models,
        "notes": [
            note
            for name, spec in specs.items()
            if (note := column_note(name, spec.ridge_intensity, TABLE_3))
        ],
    }


def verdict(intensity: float, device: DeviceSpec) -> str:
    """``CC`` or ``MC`` for a network of this intensity [FLOP/byte]."""
    return "CC" if is_compute_bound(intensity, 1.0, device) else "MC"


def column_note(device: str, ridge: float, rows: Mapping[str, Table3Row]) -> str:
    """Say which I_m a column's printed verdicts need, where the device's own does not give them.

    Args:
        device: the column.
        ridge: the device's I_m [FLOP/byte].
        rows: the table.
    """
    computing = {n: row.intensity for n, row in rows.items() if row.verdicts[device] == "CC"}
    memory = {n: row.intensity for n, row in rows.items() if row.verdicts[device] == "MC"}
    wrong = [n for n, i in computing.items() if i < ridge]
    wrong += [n for n, i in memory.items() if i >= ridge]
    if not wrong:
        return ""
    needs = []
    if computing:
        name = min(computing, key=computing.__getitem__)
        needs.append(f"at most {computing[name]:g} (CC for {name})")
    if memory:
        name = max(memory, key=memory.__getitem__)
        needs.append(f"above {memory[name]:g} (MC for {name})")
    text = (
        f"{device}: with I_m = {ridge:.2f} the verdict for {' and '.join(wrong)} is the other one; "
        f"the printed ones need an I_m {' and '.join(needs)}"
    )
    is_never = computing and memory and min(computing.values()) <= max(memory.values())
    return text + (", which no device has." if is_never else ".")
