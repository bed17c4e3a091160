"""Graphs as plain data: what is written is what is read, and nothing else can be run."""

import json
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from codesign_ros.models.graph.ops import OPERATIONS, operation
from codesign_ros.models.graph.steps import Step, Value, Weight, read_step, write_step
from codesign_ros.models.zoo import build
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.tensors import InputSpec

INPUT = InputSpec(4, 6)
names = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True)
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**40), 2**40),
    st.floats(allow_nan=False),
    st.text(max_size=5),
    names.map(Value),
    names.map(lambda name: Weight(f"layer.{name}")),
    st.sampled_from([torch.float32, torch.int64, torch.bool]),
)
arguments = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3), max_leaves=6)


@given(
    names,
    st.lists(arguments, max_size=4),
    st.dictionaries(names, arguments, max_size=2),
    st.none() | st.integers(0, 3),
)
def test_a_step_is_read_as_it_was_written(name, args, kwargs, pick):
    step = Step(name, "relu.default", tuple(args), kwargs, pick)
    assert read_step(write_step(step)) == step


def test_infinity_can_be_written():
    step = read_step(write_step(Step("a", "masked_fill.Scalar", (Value("x"), -math.inf))))
    assert step.args[1] == -math.inf


def test_what_is_no_argument_is_refused():
    with pytest.raises(CodesignError, match="cannot be written"):
        write_step(Step("a", "relu.default", (object(),)))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "7",
        '["a", "relu.default"]',
        '["a.b", "relu.default", ["$image"]]',
        '["a", 3, ["$image"]]',
        '["a", "relu.default", "$image"]',
        '["a", "relu.default", ["image"]]',
        '["a", "relu.default", [{"x": 1}]]',
        '["a", "relu.default", ["!load"]]',
        '["a", "relu.default", ["$image"], 3]',
        '["a", "relu.default", ["$image"], {}, true]',
        '["a", "relu.default", ["$image"], {}, 0, 0]',
        "[" * 100_000,
    ],
)
def test_what_is_no_step_is_one_line(text):
    with pytest.raises(CodesignError, match="is no step of a graph") as error:
        read_step(text)
    assert "\n" not in str(error.value)


def test_no_operation_changes_what_it_is_given_or_reaches_outside():
    for name, function in OPERATIONS.items():
        schema = function._schema
        assert not schema.is_mutable, name
        kinds = {str(argument.type) for argument in schema.arguments}
        assert not {kind for kind in kinds if "Generator" in kind or "Storage" in kind}, name


@pytest.mark.parametrize("name", ["relu_.default", "from_file.default", "__class__", "relu", ""])
def test_other_operations_are_refused(name):
    with pytest.raises(CodesignError, match="is not one that a network may use"):
        operation(name)


def description(**changes):
    relu = {"name": "a", "inputs": ["image"], "steps": ['["x", "relu.default", ["$in0"]]']}
    scale = {
        "name": "b",
        "inputs": ["a"],
        "steps": ['["y", "mul.Tensor", ["$in0", "@deep.scale"]]'],
    }
    return {
        "segments": [relu, scale],
        "parameters": {"deep.scale": [3, 1, 1]},
        "buffers": {},
        "outputs": ["b"],
        **changes,
    }


def test_a_graph_is_built_from_its_description():
    network = build("graph", description(), INPUT)
    assert list(network.state_dict()) == ["segments.1.weights.deep.scale"]
    network.load_state_dict({"segments.1.weights.deep.scale": torch.full((3, 1, 1), 2.0)})
    image = torch.randn(1, 3, 4, 6)
    with torch.no_grad():
        assert torch.equal(network(image), 2 * image.clamp(min=0))


def segment(**changes):
    steps = ['["x", "relu.default", ["$in0"]]']
    return [{"name": "a", "inputs": ["image"], "steps": steps, **changes}]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"segments": 3}, "not sound"),
        ({"segments": []}, "not sound"),
        ({"segments": segment(inputs=["b"]), "outputs": ["a"]}, "takes 'b', made nowhere"),
        ({"segments": segment(steps=[]), "outputs": ["a"]}, "steps must be there"),
        ({"segments": segment(steps=['["x", "relu.default", ["$in1"]]'])}, "takes 'in1'"),
        ({"segments": segment(steps=['["x", "relu.default", ["@w"]]'])}, "'w'"),
        ({"segments": segment(steps=['["x", "relu.default", [1, 2]]'])}, "not sound"),
        ({"segments": segment(steps=['["x", "pin_memory.default", ["$in0"]]'])}, "may use"),
        ({"parameters": {"deep.scale": ["x"]}}, "not sound"),
        ({"buffers": {"deep.offset": ["load", 3]}}, "not sound"),
        ({"parameters": {"forward.scale": [3, 1, 1]}}, "not sound"),
        ({"outputs": ["b", "c"]}, "output 'c' is made nowhere"),
        ({"more": 1}, "unexpected keyword"),
    ],
)
def test_an_unsound_graph_is_one_line(changes, text):
    with pytest.raises(CodesignError, match=text) as error:
        build("graph", description(**changes), INPUT)
    assert "\n" not in str(error.value)


def test_steps_are_one_line_of_json_each():
    text = write_step(Step("a", "split.Tensor", (Value("in0"), 2, 1), {}, 0))
    assert json.loads(text) == ["a", "split.Tensor", ["$in0", 2, 1], {}, 0]
