"""Sets the weights of a user's module from a file, as checkpoints have them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import torch
from torch import nn

from codesign_ros.models.graph.checkpoints import Found, is_averaged, read_checkpoint
from codesign_ros.types.errors import CodesignError, listed

# What DataParallel, torch.compile, Lightning and torch's averages put before the names.
_PREFIXES = ("module.", "_orig_mod.", "model.")
_COMPILED = "_orig_mod."
# Counts that evaluation does not use: files may lack that of BatchNorm, and have that of averages.
_COUNTED_BATCHES = "num_batches_tracked"
_COUNTED_AVERAGES = "n_averaged"
# Of buffers these are measured, so that they are finite; others, such as masks, need not be.
_MEASURED = ("running_mean", "running_var")
_PLAIN = "give a dense one that has numbers, not quantised"


class _Fitting(NamedTuple):
    """Entries of a file that have all names that a network needs.

    Attributes:
        found: where they are.
        named: by the network's names.
        notes: on how they were renamed, a line each.
    """

    found: Found
    named: dict[str, Any]
    notes: list[str]


def load_module_weights(module: nn.Module, path: Path) -> list[str]:
    """Set a module's weights from a file, in place.

    Args:
        module: the module.
        path: as :func:`read_checkpoint` takes it; the weights may stand in it under keys such as
            ``state_dict``, ``model`` or ``ema``, averaged ones being taken before others, and all
            names may have a prefix.

    Returns:
        Notes on what was taken otherwise than it stands in the file, a line each.

    Raises:
        CodesignError: the file cannot be read, its names or shapes are not the module's, it holds
            several that fit, or a weight is not finite or no plain tensor.
    """
    own = _plain_state(module)
    needed = {name for name in own if not name.endswith(_COUNTED_BATCHES)}
    candidates = read_checkpoint(path)
    fitting = [
        _Fitting(found, *named)
        for found in candidates
        if needed <= (named := _named_as(found.entries, needed))[0].keys()
    ]
    if not fitting:
        nearest = max(candidates, key=lambda each: len(needed & each.entries.keys()))
        _refuse_names(f"{path}{nearest.where}", nearest.entries, needed, own)
    first, *others = fitting
    if others and others[0].found.rank == first.found.rank:
        raise CodesignError(
            f"weights {path} hold several that fit this network, {first.found.where} and "
            f"{others[0].found.where}: save the state_dict that is meant alone"
        )
    weights, notes = _tensors(first.named, needed, path)
    if weights.keys() - own.keys():
        _refuse_names(f"{path}{first.found.where}", weights, needed, own)
    for name, tensor in weights.items():
        if kind := _kind(tensor):
            raise CodesignError(f"weights {path} hold a {kind} tensor, {name!r}: {_PLAIN}")
        if tensor.shape != own[name].shape:
            raise CodesignError(
                f"weights {path} are not this network's: {name!r} is {tuple(tensor.shape)}, the "
                f"network has {tuple(own[name].shape)}"
            )
        # load_state_dict would cast them without a word: integers may be quantised.
        if own[name].is_floating_point() and not tensor.is_floating_point():
            held = str(tensor.dtype).removeprefix("torch.")
            raise CodesignError(
                f"weights {path} are not this network's: {name!r} is {held}, the network's is "
                f"{str(own[name].dtype).removeprefix('torch.')}"
            )
    parameters = {name for name, _ in module.named_parameters()}
    if bad := _not_finite(weights, parameters):
        raise CodesignError(f"weights {path} hold numbers that are not finite, in {bad!r}")
    module.load_state_dict({**module.state_dict(), **weights})
    return [*_where_notes(path.name, candidates, fitting), *first.notes, *notes]


def _refuse_names(
    what: str, entries: Mapping[str, Any], needed: set[str], own: Mapping[str, Any]
) -> NoReturn:
    missing, foreign = sorted(needed - entries.keys()), sorted(entries.keys() - own.keys())
    said = f"they lack {missing[0]!r}" if missing else f"they have {foreign[0]!r}"
    raise CodesignError(
        f"weights {what} are not this network's: {said} "
        f"({len(missing)} missing, {len(foreign)} foreign)"
    )


def _tensors(
    named: Mapping[str, Any], needed: set[str], path: Path
) -> tuple[dict[str, torch.Tensor], list[str]]:
    """Leave out what is no tensor, and note it."""
    tensors = {name: value for name, value in named.items() if isinstance(value, torch.Tensor)}
    others = named.keys() - tensors.keys()
    if wanted := sorted(others & needed):
        raise CodesignError(
            f"weights {path} are not this network's: {wanted[0]!r} is no tensor "
            f"({type(named[wanted[0]]).__name__})"
        )
    note = f"weights: {len(others)} that are no tensors left out: {min(others, default='')}"
    return tensors, [note] if others else []


def _where_notes(name: str, candidates: list[Found], fitting: list[_Fitting]) -> list[str]:
    """Say where in a file the weights were, and which others it has."""
    taken, *others = (each.found for each in fitting)
    notes = []
    if taken.keys or others:
        also = f", not of {listed([name + each.where for each in others])}" if others else ""
        averaged = ", averaged ones" if taken.is_averaged else ""
        notes.append(f"weights: those of {name}{taken.where}{averaged}{also}")
    fit = [each.keys for each in (taken, *others)]
    unfit = [each.where for each in candidates if each.is_averaged and each.keys not in fit]
    if unfit and not taken.is_averaged:
        notes.append(
            f"weights: averaged ones in {name}{unfit[0]} not taken, their names are not the "
            "network's"
        )
    return notes


def check_finite(module: nn.Module) -> None:
    """Refuse a module whose weights are no numbers.

    Raises:
        CodesignError: the line names the weight.
    """
    parameters = {name for name, _ in module.named_parameters()}
    if bad := _not_finite(_plain_state(module), parameters):
        raise CodesignError(f"the network's weight {bad!r} holds numbers that are not finite")


def _plain_state(module: nn.Module) -> dict[str, torch.Tensor]:
    """A module's tensors by name, without the state of other kinds that modules may have.

    Raises:
        CodesignError: one holds no numbers, or not in a plain way; the line names it.
    """
    state = {n: t for n, t in module.state_dict().items() if isinstance(t, torch.Tensor)}
    for name, tensor in state.items():
        if kind := _kind(tensor):
            raise CodesignError(f"the network's weight {name!r} is a {kind} tensor: {_PLAIN}")
    return state


def _kind(tensor: torch.Tensor) -> str:
    """What is special about a tensor so that no network can be cut with it; else nothing."""
    if nn.parameter.is_lazy(tensor):
        return "lazy"
    if tensor.is_meta:
        return "meta"
    if tensor.is_quantized:
        return "quantised"
    if tensor.is_nested:
        return "nested"
    return "" if tensor.layout is torch.strided else "sparse"


def _not_finite(weights: Mapping[str, torch.Tensor], parameters: set[str]) -> str | None:
    """Name of a weight that is not finite, or of a buffer that holds NaN."""
    for name, tensor in weights.items():
        if not (tensor.is_floating_point() or tensor.is_complex()):
            continue
        if tensor.itemsize == 1:  # torch does not look into numbers of eight bits
            tensor = tensor.float()
        strict = name in parameters or name.endswith(_MEASURED)
        if not (tensor.isfinite().all() if strict else not tensor.isnan().any()):
            return name
    return None


def _named_as(entries: dict[str, Any], needed: set[str]) -> tuple[dict[str, Any], list[str]]:
    """Take away what wrappers put before the names, where these then are the module's."""
    if len(entries) < len(needed):
        return entries, []
    # A compiled module may lie inside another one.
    plain = {name.replace(_COMPILED, ""): value for name, value in entries.items()}
    # Averages may stand beside the others, before whose names nothing need stand then.
    averaged = sorted({f"{top}." for name in plain if is_averaged(top := name.partition(".")[0])})
    if not averaged and needed <= entries.keys():
        return entries, []
    inner = [
        "".join(each)
        for count in range(len(_PREFIXES) + 1)
        for each in itertools.product(_PREFIXES, repeat=count)
    ]
    for prefix in (first + second for first in (*averaged, "") for second in inner):
        prefix = prefix.replace(_COMPILED, "")
        named = {
            name.removeprefix(prefix): value
            for name, value in plain.items()
            if name.startswith(prefix)
        }
        if needed <= named.keys():
            return named, _notes(entries, prefix)
    return entries, []


def _notes(entries: dict[str, Any], prefix: str) -> list[str]:
    taken = [prefix] if prefix else []
    if any(_COMPILED in name for name in entries):
        taken.append(_COMPILED)
    said = " and ".join(map(repr, taken))
    notes = [f"weights: {said} taken away from their names"] if taken else []
    others = {name for name in entries if not name.replace(_COMPILED, "").startswith(prefix)}
    others.discard(_COUNTED_AVERAGES)
    if others:
        notes.append(f"weights: {len(others)} that are not the network's left out: {min(others)}")
    return notes
