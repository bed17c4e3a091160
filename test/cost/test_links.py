"""The file of links."""

import pytest

from codesign_ros.cost.catalogue import find_link, load_links
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.links import LinkSpec, RadioState
from support.paths import ROOT

SHIPPED = ROOT / "config" / "links.yaml"


@pytest.fixture
def write(tmp_path):
    def write_text(text):
        path = tmp_path / "links.yaml"
        path.write_text(text)
        return path

    return write_text


def test_the_shipped_links():
    links = load_links(SHIPPED)
    names = {
        *("100mbps", "paper", "paper-uplink", "paper-downlink", "wifi", "leaky-feeder"),
        *("5g", "fading-radio"),
    }
    assert set(links) == names
    assert links["100mbps"] == LinkSpec(100e6, name="100mbps")
    # Table V; the ping goes there and back.
    assert links["paper-uplink"] == LinkSpec(107.4e6, 0.013 / 2, "paper-uplink")
    paper = links["paper"]
    assert (paper.bandwidth_bps, paper.back_bps) == (107.4e6, 48.7e6)
    assert paper.delay_s + paper.back_delay_s == pytest.approx(0.013)
    assert links["fading-radio"].states == (RadioState(30e6, 10.0), RadioState(2e6, 1.0))
    assert links["paper-downlink"].bandwidth_bps == pytest.approx(48.7e6)


def test_what_is_not_given_is_none(write):
    links = load_links(write("links: {a: {bandwidth_bps: 8}, b: {bandwidth_bps: 8, delay_s: 0}}"))
    assert links["a"] == LinkSpec(8.0, 0.0, "a", None)
    assert links["b"] == LinkSpec(8.0, 0.0, "b", None)


@pytest.mark.parametrize(
    ("name", "rate_bps"), [("20mbps", 20e6), ("1.5Mbps", 1.5e6), ("800kbps", 8e5), ("1gbps", 1e9)]
)
def test_a_rate_is_a_link(name, rate_bps):
    assert find_link({}, name) == LinkSpec(rate_bps, name=name)


def test_a_name_goes_before_a_rate():
    link = LinkSpec(5.0, 1.0, "1gbps")
    assert find_link({"1gbps": link}, "1gbps") is link


@pytest.mark.parametrize("name", ["usb", "20", "-3mbps", "1e6bps", "mbps", ""])
def test_unknown_links_list_the_known(name):
    links = {"b": LinkSpec(1.0), "a": LinkSpec(1.0)}
    with pytest.raises(CodesignError, match=r"^unknown link '.*'; known are a, b, or give a rate"):
        find_link(links, name)


def test_a_rate_of_zero_is_refused():
    with pytest.raises(CodesignError, match=r"^the link's rate must be above 0 bit/s, not 0$"):
        find_link({}, "0mbps")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("devices: {a: {}}\n", "names no links"),
        ("links: {a: 5}\n", "link 'a' in .* needs bandwidth_bps, or states of a rate"),
        ("links: {a: {delay_s: 1}}\n", "needs bandwidth_bps, or states"),
        ("links: {a: {bandwidth_bps: 0}}\n", "bandwidth_bps must be a positive number, not 0"),
        ("links: {a: {bandwidth_bps: 1e6}}\n", "not '1e6' .in YAML a number has a dot"),
        ("links: {a: {bandwidth_bps: 1, states: []}}\n", "and not both"),
        ("links: {a: {states: []}}\n", "states must be a list, each as {bandwidth_bps: 3.0e.7"),
        ("links: {a: {states: [{bandwidth_bps: 1}]}}\n", "states must be a list"),
        ("links: {a: {states: [{bandwidth_bps: 1, mean_s: 0}]}}\n", "mean_s must be a positive"),
        ("links: {a: {bandwidth_bps: 1, downlink_bps: 0}}\n", "downlink_bps must be a positive"),
        ("links: {a: {bandwidth_bps: 1, delay: 1}}\n", "unknown field 'delay'; known are"),
        ("links: {a: {bandwidth_bps: 1, delay_s: -1}}\n", "delay_s must be a number of 0 or more"),
        ("links: {a: {bandwidth_bps: 1, transmit_w: x}}\n", "transmit_w must be a positive"),
    ],
)
def test_malformed_files_are_one_line(write, text, message):
    with pytest.raises(CodesignError, match=message) as error:
        load_links(write(text))
    assert "\n" not in str(error.value)
