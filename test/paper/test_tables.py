"""Tables II and III: the comparison by hand, on networks small enough to count."""

import json
import math
from dataclasses import replace

import pytest
from torch import nn

from codesign_ros.cli import intensity, reproduce
from codesign_ros.cli.main import main
from codesign_ros.cost.catalogue import load_devices
from codesign_ros.cost.intensity import (
    ACCOUNTINGS,
    Pair,
    forms_of,
    intensities,
    memory_bytes,
)
from codesign_ros.models.blocks import RepVGGBlock
from codesign_ros.models.network import Network
from codesign_ros.paper.printed import TABLE_2, TABLE_3, TABLE_3_DEVICES, Table3Row
from codesign_ros.paper.tables import column_note, table2, table3, verdict
from codesign_ros.paper.zoo import Zoo
from codesign_ros.resources import resource_path
from codesign_ros.types.devices import DeviceSpec
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.tensors import InputSpec


def small(channels, size=8):
    stem = ("stem", nn.Conv2d(3, channels, 1))
    return forms_of(Network([stem, ("block", RepVGGBlock(channels, channels))],
                            InputSpec(size, size)))  # fmt: skip


@pytest.fixture(scope="module")
def zoo():
    """Every network is one block; RepVGG is there twice."""
    forms = {name: {"": small(4 + i)} for i, name in enumerate(TABLE_2)}
    return Zoo({**forms, "RepVGG": {"narrow": small(4), "wide": small(64)}})


@pytest.fixture(scope="module")
def devices():
    return load_devices(resource_path("config") / "devices.yaml")


def test_the_closest_accounting_has_the_smallest_mean_log_ratio(zoo):
    def far(accounting):
        """Mean over networks of the mean over both forms, the better RepVGG taken."""
        total = 0.0
        for name, variants in zoo.forms.items():
            total += min(
                sum(
                    abs(math.log(ours / paper))
                    for ours, paper in zip(intensities(v, accounting), TABLE_2[name], strict=True)
                )
                / 2
                for v in variants.values()
            )
        return total / len(TABLE_2)

    expected = {accounting: far(accounting) for accounting in ACCOUNTINGS}
    assert zoo.distances == pytest.approx(expected)
    content = table2(zoo)
    assert content["accounting"] == content["closest"] == min(expected, key=expected.get)
    ranked = [row["mean_abs_log_ratio"] for row in content["accountings"]]
    assert ranked == pytest.approx(sorted(expected.values()))


def test_table_2_by_hand(zoo):
    content = table2(zoo, "macs/weights")
    assert [row["name"] for row in content["networks"]] == list(TABLE_2)
    row = content["networks"][4]
    assert row["name"] == "Rep-MobileNetV1"
    # 8 channels at 8 x 8: stem of 3 to 8 with bias, block of 8 to 8.
    macs = Pair(64 * (3 * 8 + 10 * 64), 64 * (3 * 8 + 9 * 64))
    size = Pair(4 * (32 + 10 * 64 + 3 * 4 * 8), 4 * (32 + 9 * 64 + 8))
    for form, m, b, paper in zip(("original", "folded"), macs, size, (11.47, 10.38), strict=True):
        assert row[form] == {
            "operations": m,
            "bytes": b,
            "flops_per_byte": pytest.approx(m / b),
            "paper": paper,
            "difference": pytest.approx(m / b / paper - 1),
        }
    assert row["change_by_folding_paper"] == pytest.approx(10.38 / 11.47 - 1)
    # Folding takes 64 of 664 multiply-adds a pixel. Where all counts, also 8 channels of three
    # BatchNorms of 2 operations and 2 additions; the ReLU stays.
    before, after = 2 * 664 + 8 * (3 * 2 + 2 + 1), 2 * 600 + 8
    assert row["change_by_folding_at_least"] == pytest.approx(after / before - 1)
    text = json.dumps(content)
    assert "Out of reach" in text


def test_the_variant_that_comes_closest_is_taken(zoo):
    def far(variant):
        ours = intensities(zoo.forms["RepVGG"][variant], "macs/layers")
        return sum(abs(math.log(a / b)) for a, b in zip(ours, TABLE_2["RepVGG"], strict=True))

    content = table2(zoo, "macs/layers")
    assert content["networks"][0]["variant"] == min(("narrow", "wide"), key=far)


def test_folding_never_adds_a_byte(zoo):
    """What the notes say of the paper's figures rests on this."""
    for variants in zoo.forms.values():
        for forms in variants.values():
            for accounting in ACCOUNTINGS:
                original, folded = memory_bytes(forms, accounting)
                assert folded <= original


def test_an_unknown_accounting_is_refused(zoo):
    with pytest.raises(CodesignError, match="no accounting 'bits'"):
        table2(zoo, "bits")


def test_verdicts_of_table_3_by_hand(zoo, devices):
    """I_m from the paper's text: 472/25.6, 1000/25.6, 1330/59.7 and 21000/51.2 FLOP/byte."""
    content = table3(zoo, devices)
    assert list(content["devices"].values()) == pytest.approx(
        [18.4375, 39.0625, 22.278, 410.156], rel=1e-4
    )
    found = {
        model["name"]: [v["from_printed_figures"] for v in model["verdicts"].values()]
        for model in content["models"]
    }
    assert found == {
        "RepVGG": ["CC", "MC", "MC", "MC"],  # 19.81
        "Rep-ResNet-50": ["CC", "MC", "CC", "MC"],  # 38.78
        "Rep-GoogLeNet": ["CC", "MC", "CC", "MC"],  # 32.43
    }
    printed = [v["printed"] for v in content["models"][0]["verdicts"].values()]
    assert printed == ["CC", "CC", "MC", "MC"]
    tx1, tx2 = content["notes"]
    assert tx1.startswith("jetson-tx1: with I_m = 39.06 the verdict for RepVGG is the other one")
    assert tx1.endswith("which no device has.")
    assert "Rep-ResNet-50 and Rep-GoogLeNet" in tx2
    assert tx2.endswith("above 38.78 (MC for Rep-ResNet-50).")


def test_ours_in_table_3_are_the_original_networks(zoo, devices):
    content = table3(zoo, devices)
    for model in content["models"]:
        ours = intensities(zoo.forms[model["name"]][model["variant"]], zoo.closest).original
        assert model["flops_per_byte"] == ours
        for name, verdicts in model["verdicts"].items():
            ridge = devices[name].paper_peak_flops / devices[name].memory_bandwidth
            assert verdicts["ours"] == ("CC" if ours >= ridge else "MC")


def test_at_the_ridge_a_network_is_constrained_by_computing():
    device = DeviceSpec("d", {"fp32": 1e12}, 1e11)
    assert verdict(10.0, device) == "CC"
    assert verdict(9.999, device) == "MC"
    assert verdict(10.0, replace(device, paper_peak_flops=2e12)) == "MC"


def test_a_column_that_fits_needs_no_note():
    rows = {"a": Table3Row(5.0, {"d": "MC"}), "b": Table3Row(10.0, {"d": "CC"})}
    assert column_note("d", 7.0, rows) == ""
    note = column_note("d", 20.0, rows)
    assert note == (
        "d: with I_m = 20.00 the verdict for b is the other one; the printed ones need an I_m "
        "at most 10 (CC for b) and above 5 (MC for a)."
    )


def test_the_papers_numbers():
    assert TABLE_2["Rep-GoogLeNet"] == (32.43, 24.89)
    assert all(row.intensity == TABLE_2[name].original for name, row in TABLE_3.items())
    assert len(TABLE_3_DEVICES) == 4


@pytest.mark.parametrize("command", [["intensity"], ["reproduce", "table2"]])
def test_a_wrong_accounting_is_told_before_the_work(command, capsys, monkeypatch):
    monkeypatch.setattr(reproduce, "counted_zoo", lambda: pytest.fail("it counted"))
    monkeypatch.setattr(intensity, "counted_zoo", lambda: pytest.fail("it counted"))
    assert main([*command, "--accounting", "bits"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: argument --accounting: no accounting 'bits'; write flops or")


@pytest.mark.parametrize(
    "arguments",
    [["intensity"], ["reproduce", "table2", "--accounting", "flops/traffic"],
     ["reproduce", "table3"]],
)  # fmt: skip
def test_the_commands(arguments, zoo, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(reproduce, "counted_zoo", lambda: zoo)
    monkeypatch.setattr(intensity, "counted_zoo", lambda: zoo)
    path = tmp_path / "out.json"
    assert main([*arguments, "--json", str(path)]) == 0
    shown = capsys.readouterr().out
    content = json.loads(path.read_text())
    if "table2" in arguments:
        assert content["accounting"] == "flops/traffic"
        assert content["closest"] == zoo.closest
        assert "19.81" in shown
    elif "table3" in arguments:
        assert "410.16" in shown
    else:
        assert content["table2"]["accounting"] == zoo.closest
        assert content["table3"]["models"]
        assert "macs/peak" in shown
