"""Whose name a message may come in, by what DDS knows of who publishes."""

from types import SimpleNamespace

import pytest

from codesign_ros.nodes.identity import writers
from codesign_ros.nodes.identity.writers import Writers
from codesign_ros.types.errors import CodesignError


class Graph:
    """What a node sees of the others, at a time that does not pass by itself."""

    def __init__(self):
        self.nodes = []
        self.now_s = 100.0

    def monotonic(self):
        return self.now_s

    def resolve_topic_name(self, topic):
        return f"/robot/{topic}"

    def get_publishers_info_by_topic(self, topic):
        assert topic == "/robot/presence"
        return [SimpleNamespace(node_namespace="/robot", node_name=name) for name in self.nodes]


@pytest.fixture
def graph(monkeypatch):
    graph = Graph()
    monkeypatch.setattr(writers, "time", graph)
    return graph


def test_who_publishes_is_vouched_for(graph):
    known = Writers(graph, "presence")
    graph.nodes = ["head"]
    assert known.vouch("/robot/head", "presence")
    assert not known.vouch("/robot/head", "presence", 2)  # there is one of that name


def test_what_came_before_dds_told_of_its_writer_is_left_out_without_a_word(graph):
    known = Writers(graph, "presence")
    assert not known.vouch("/robot/head", "presence")
    graph.now_s += 0.5
    graph.nodes = ["head"]
    assert known.vouch("/robot/head", "presence")
    graph.nodes = []
    graph.now_s += 10.0
    assert not known.vouch("/robot/head", "presence")  # it has just gone


def test_who_goes_on_in_a_name_of_nobody_is_refused(graph):
    known = Writers(graph, "presence")
    for _ in range(4):
        assert not known.vouch("/robot/head", "presence")
        graph.now_s += 0.5
    with pytest.raises(CodesignError, match="presence of /robot/head: no such node publishes"):
        known.vouch("/robot/head", "presence")


def test_a_flood_of_names_is_forgotten(graph):
    known = Writers(graph, "presence")
    for number in range(3000):
        assert not known.vouch(f"/robot/head{number}", "presence")
    assert len(known._unknown_s) <= 1000
