"""Sets the weights of a user's module from a file, as checkpoints have them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import nn

from codesign_ros.types.errors import CodesignError

Tensors = dict[str, torch.Tensor]

# Where checkpoints keep the tensors, what is meant for use first: averaged ones before the last.
_KEYS = ("state_dict", "ema", "model", "model_state_dict", "net", "params", "weights", "module")
_DEEPEST = 3
# What DataParallel, torch.compile, Lightning and torch's averages put before the names.
_PREFIXES = ("module.", "_orig_mod.", "model.")
_COMPILED = "_orig_mod."
# Counts that evaluation does not use: files may lack that of BatchNorm, and have that of averages.
_COUNTED_BATCHES = "num_batches_tracked"
_COUNTED_AVERAGES = "n_averaged"
# Of buffers these are measured, so that they are finite; others, such as masks, need not be.
_MEASURED = ("running_mean", "running_var")


def load_module_weights(module: nn.Module, path: Path) -> list[str]:
    """Set a module's weights from a file, in place.

    Args:
        module: the module.
        path: ``.safetensors``, or a file of ``torch.save`` that holds nothing but tensors, numbers
            and texts; the weights may stand in it under a key such as ``state_dict``, ``model`` or
            ``ema``, and all names may have a prefix.

    Returns:
        Notes on what was taken otherwise than it stands in the file, a line each.

    Raises:
        CodesignError: the file cannot be read, its names or shapes are not the module's, or a
            weight is not finite.
    """
    weights, notes = _read(path)
    own = module.state_dict()
    weights, more = _named_as(weights, own)
    notes += more
    needed = {name for name in own if not name.endswith(_COUNTED_BATCHES)}
    missing, foreign = sorted(needed - weights.keys()), sorted(weights.keys() - own.keys())
    if missing or foreign:
        what = f"they lack {missing[0]!r}" if missing else f"they have {foreign[0]!r}"
        raise CodesignError(
            f"weights {path} are not this network's: {what} "
            f"({len(missing)} missing, {len(foreign)} foreign)"
        )
    for name, tensor in weights.items():
        if tensor.shape != own[name].shape:
            raise CodesignError(
                f"weights {path} are not this network's: {name!r} is {tuple(tensor.shape)}, the "
                f"network has {tuple(own[name].shape)}"
            )
    parameters = {name for name, _ in module.named_parameters()}
    if bad := _not_finite(weights, parameters):
        raise CodesignError(f"weights {path} hold numbers that are not finite, in {bad!r}")
    module.load_state_dict({**own, **weights})
    return notes


def check_finite(module: nn.Module) -> None:
    """Refuse a module whose weights are no numbers.

    Raises:
        CodesignError: the line names the weight.
    """
    parameters = {name for name, _ in module.named_parameters()}
    if bad := _not_finite(module.state_dict(), parameters):
        raise CodesignError(f"the network's weight {bad!r} holds numbers that are not finite")


def _not_finite(weights: Mapping[str, torch.Tensor], parameters: set[str]) -> str | None:
    """Name of a weight that is not finite, or of a buffer that holds NaN."""
    for name, tensor in weights.items():
        if not (tensor.is_floating_point() or tensor.is_complex()):
            continue
        strict = name in parameters or name.endswith(_MEASURED)
        if not (tensor.isfinite().all() if strict else not tensor.isnan().any()):
            return name
    return None


def _read(path: Path) -> tuple[Tensors, list[str]]:
    """Read the tensors of a file, and note where in it they were."""
    if not path.is_file():
        raise CodesignError(f"there is no file of weights at {path}")
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path), []
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file makes them raise nearly anything
        raise CodesignError(
            f"weights {path} cannot be read ({type(error).__name__}): give safetensors, or a file "
            "of torch.save that holds a state_dict and nothing else"
        ) from error
    found = next(_tensors(content), None)
    if found is None:
        raise CodesignError(f"weights {path} are not tensors by name")
    tensors, keys = found
    where = "".join(f"[{key!r}]" for key in keys)
    return tensors, [f"weights: those of {path.name}{where}"] if keys else []


def _tensors(content: Any, keys: tuple[str, ...] = ()) -> Iterator[tuple[Tensors, tuple[str, ...]]]:
    """Tensors by name inside a checkpoint, and the keys that lead there, the likeliest first."""
    if not isinstance(content, dict) or len(keys) > _DEEPEST:
        return
    if content and all(isinstance(each, torch.Tensor) for each in content.values()):
        yield {str(name): tensor for name, tensor in content.items()}, keys
        return
    for key in _KEYS:
        if key in content:
            yield from _tensors(content[key], (*keys, key))


def _named_as(weights: Tensors, own: Mapping[str, torch.Tensor]) -> tuple[Tensors, list[str]]:
    """Take away what wrappers put before the names, where these then are the module's."""
    needed = {name for name in own if not name.endswith(_COUNTED_BATCHES)}
    if needed <= weights.keys():
        return weights, []
    # A compiled module may lie inside another one.
    plain = {name.replace(_COMPILED, ""): tensor for name, tensor in weights.items()}
    for count in range(len(_PREFIXES) + 1):
        for prefixes in itertools.product(_PREFIXES, repeat=count):
            prefix = "".join(prefixes).replace(_COMPILED, "")
            named = {
                name.removeprefix(prefix): tensor
                for name, tensor in plain.items()
                if name.startswith(prefix)
            }
            if needed <= named.keys():
                return named, _notes(weights, named, prefix)
    return weights, []


def _notes(weights: Tensors, named: Tensors, prefix: str) -> list[str]:
    taken = [prefix] if prefix else []
    if any(_COMPILED in name for name in weights):
        taken.append(_COMPILED)
    notes = [f"weights: {' and '.join(map(repr, taken))} taken away from their names"]
    others = {name for name in weights if not name.replace(_COMPILED, "").startswith(prefix)}
    others.discard(_COUNTED_AVERAGES)
    if others:
        notes.append(f"weights: {len(others)} that are not the network's left out: {min(others)}")
    return notes
