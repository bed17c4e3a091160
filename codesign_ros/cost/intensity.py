"""Computational intensity of a network under several ways of counting operations and bytes.

The paper defines I_0 = C / M (section IV), C the floating point operations and M "the memory size
in bytes required for a single feed-forward propagation", and says no more of either. So each
accounting here says what it counts, and the one that comes closest to the paper is found by
comparison. All elements are float32, 4 bytes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from codesign_ros.cost.profile import FLOAT32_BYTES
from codesign_ros.cost.roofline import intensity
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import Merge, Structure

if TYPE_CHECKING:
    from codesign_ros.models.layers import LayerRecord
    from codesign_ros.models.network import Network

_Records = Sequence["LayerRecord"]
_LAYERS = ("conv", "linear")


class Pair(NamedTuple):
    """A value of a network as it is trained, and of the same network fully folded."""

    original: float
    folded: float


@dataclass(frozen=True)
class Forms:
    """The operations of a network in two forms, batch 1.

    Attributes:
        original: with all branches and a BatchNorm behind each.
        folded: structure S3; every BatchNorm is fused into its convolution, too.
    """

    original: tuple[LayerRecord, ...]
    folded: tuple[LayerRecord, ...]


@dataclass(frozen=True)
class Memory:
    """What counts as a byte.

    Attributes:
        text: the same in words.
        activations: elements of activations that count; the weights' elements come on top.
        fuses_blocks: whether the branches of a block are taken to run as one operation, so that the
            original network's activations are those of the folded one.
    """

    text: str
    activations: Callable[[_Records], int]
    fuses_blocks: bool = False


def _inputs(records: Iterable[LayerRecord]) -> int:
    return sum(record.input_elements for record in records)


def _outputs(records: Iterable[LayerRecord]) -> int:
    return sum(record.output_elements for record in records)


def _layers(records: Iterable[LayerRecord]) -> list[LayerRecord]:
    return [record for record in records if record.kind in _LAYERS]


def _layer_traffic(records: _Records) -> int:
    return _inputs(_layers(records)) + _outputs(_layers(records))


OPERATIONS: Mapping[str, tuple[str, Callable[[_Records], float]]] = {
    "flops": (
        "2 for each multiply-add, and those of BatchNorm, activations, additions and poolings",
        lambda records: sum(record.flops for record in records),
    ),
    "macs": (
        "1 for each multiply-add of convolutions and linear layers, nothing else",
        lambda records: sum(record.flops for record in _layers(records)) / 2,
    ),
}
"""What counts as an operation: in words, and the count [FLOP]."""

MEMORY: Mapping[str, Memory] = {
    "traffic": Memory(
        "weights, and the inputs and the output of every operation",
        lambda records: _inputs(records) + _outputs(records),
    ),
    "outputs": Memory("weights, and the output of every operation", _outputs),
    "layers": Memory(
        "weights, and inputs and outputs of convolutions and linear layers", _layer_traffic
    ),
    "layer-inputs": Memory(
        "weights, and the inputs of convolutions and linear layers",
        lambda records: _inputs(_layers(records)),
    ),
    "layer-outputs": Memory(
        "weights, and the outputs of convolutions and linear layers",
        lambda records: _outputs(_layers(records)),
    ),
    "block-traffic": Memory(
        "weights, and inputs and outputs of convolutions and linear layers, those of a block's "
        "branches once",
        _layer_traffic,
        fuses_blocks=True,
    ),
    "block-inputs": Memory(
        "weights, and the inputs of convolutions and linear layers, that of a block's branches "
        "once",
        lambda records: _inputs(_layers(records)),
        fuses_blocks=True,
    ),
    "block-outputs": Memory(
        "weights, and the outputs of convolutions and linear layers, that of a block's branches "
        "once",
        lambda records: _outputs(_layers(records)),
        fuses_blocks=True,
    ),
    "peak": Memory(
        "weights, and the inputs and the output of the one operation that has most of them",
        lambda records: max(record.input_elements + record.output_elements for record in records),
    ),
    "ends": Memory(
        "weights, the image and the result; all between stays on the chip",
        lambda records: math.prod(records[0].inputs[0]) + records[-1].output_elements,
    ),
    "weights": Memory("weights alone", lambda records: 0),
}
"""What counts as a byte, by name."""

ACCOUNTINGS = tuple(f"{counted}/{memory}" for counted in OPERATIONS for memory in MEMORY)
"""Names of all accountings: what counts as an operation, and what as a byte."""


def forms_of(network: Network) -> Forms:
    """List a network's operations as it is trained and fully folded; no weights are read.

    Raises:
        CodesignError: the network uses an operation whose cost is not known.
    """
    # Here and not above: torch takes seconds to import.
    from codesign_ros.models.layers import layer_records
    from codesign_ros.models.network import on_meta
    from codesign_ros.models.reparam import reparameterize

    shapes = on_meta(network)
    folded = reparameterize(shapes, Structure.S3, Merge.FOLD)
    return Forms(layer_records(shapes), layer_records(folded))


def operations(forms: Forms, accounting: str) -> Pair:
    """C, the operations of both forms [FLOP]."""
    _, count = OPERATIONS[accounting.partition("/")[0]]
    return Pair(count(forms.original), count(forms.folded))


def memory_bytes(forms: Forms, accounting: str) -> Pair:
    """M, the memory of both forms [bytes]."""
    memory = MEMORY[accounting.partition("/")[2]]
    shown = forms.folded if memory.fuses_blocks else forms.original
    return Pair(
        FLOAT32_BYTES * (_weights(forms.original) + memory.activations(shown)),
        FLOAT32_BYTES * (_weights(forms.folded) + memory.activations(forms.folded)),
    )


def intensities(forms: Forms, accounting: str) -> Pair:
    """I_0 = C / M of both forms [FLOP/byte]."""
    counted, memory = operations(forms, accounting), memory_bytes(forms, accounting)
    return Pair(*(intensity(c, m) for c, m in zip(counted, memory, strict=True)))


def what_counts(accounting: str) -> tuple[str, str]:
    """Say in words what counts as an operation, and what as a byte.

    Raises:
        CodesignError: there is no such accounting.
    """
    if accounting not in ACCOUNTINGS:
        raise CodesignError(
            f"no accounting {accounting!r}; write {' or '.join(OPERATIONS)}, a slash and one of "
            f"{', '.join(MEMORY)}"
        )
    counted, _, memory = accounting.partition("/")
    return OPERATIONS[counted][0], MEMORY[memory].text


def distance(ours: Pair, theirs: Pair) -> float:
    """How far intensities lie apart: mean of abs(log(ours / theirs)) over both forms."""
    return sum(abs(math.log(a / b)) for a, b in zip(ours, theirs, strict=True)) / len(ours)


def _weights(records: Iterable[LayerRecord]) -> int:
    return sum(record.weights for record in records)
