"""State of a training run on disk, so that an interrupted one goes on as if it had not been.

One safetensors file: tensors of the model, its moving average and the optimiser, and the rest as
JSON in the file's header. Nothing is pickled.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.optim import Optimizer

from codesign_ros.types.errors import CodesignError, one_line


def save(
    path: Path,
    model: nn.Module,
    average: nn.Module,
    optimiser: Optimizer,
    step: int,
    meta: dict[str, Any],
) -> None:
    """Write a checkpoint; the one that is there is replaced when the new one is whole.

    Args:
        path: the file.
        model: weights and BatchNorm statistics.
        average: its moving average.
        optimiser: its tensors by parameter.
        step: steps done.
        meta: anything else that JSON can hold.

    Raises:
        CodesignError: the file cannot be written.
    """
    tensors = {f"model.{name}": t for name, t in model.state_dict().items()}
    tensors |= {f"average.{name}": t for name, t in average.state_dict().items()}
    for index, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{key}": t for key, t in state.items()}
    # A copy each: a file must not hold one memory twice, and it wants contiguous tensors.
    copies = {name: t.detach().cpu().clone(memory_format=torch.contiguous_format)
              for name, t in tensors.items()}  # fmt: skip
    temporary = path.with_suffix(".partial")
    try:
        save_file(copies, temporary, {"step": str(step), "meta": json.dumps(meta)})
        os.replace(temporary, path)
    except (OSError, safetensors.SafetensorError) as error:
        raise CodesignError(f"cannot write checkpoint {path}: {error}") from None


def read_header(path: Path) -> tuple[int, dict[str, Any]]:
    """Read how many steps were done, and ``meta``.

    Raises:
        CodesignError: the file is not there or damaged.
    """
    try:
        with safetensors.safe_open(path, "pt") as file:
            header = file.metadata() or {}
        return int(header["step"]), json.loads(header["meta"])
    except FileNotFoundError:
        raise CodesignError(
            f"there is no checkpoint {path} to go on from: the training has ended, or did not "
            "come to its first; leave --resume out"
        ) from None
    except (safetensors.SafetensorError, KeyError, ValueError, OSError) as error:
        raise CodesignError(f"checkpoint {path} cannot be read: {one_line(error)}") from None


def load(
    path: Path, model: nn.Module, average: nn.Module, optimiser: Optimizer
) -> tuple[int, dict[str, Any]]:
    """Read a checkpoint into a run that was set up in the same way.

    Returns:
        Steps done, and ``meta``.

    Raises:
        CodesignError: the file is not there, damaged, or of another network.
    """
    step, meta = read_header(path)
    try:
        tensors = load_file(path)
    except (safetensors.SafetensorError, OSError) as error:
        raise CodesignError(f"checkpoint {path} cannot be read: {one_line(error)}") from None

    def part(name: str) -> dict[str, torch.Tensor]:
        begin = f"{name}."
        return {k[len(begin) :]: t for k, t in tensors.items() if k.startswith(begin)}

    state = optimiser.state_dict()
    state["state"] = {}
    for name, tensor in part("optimiser").items():
        index, _, key = name.partition(".")
        state["state"].setdefault(int(index), {})[key] = tensor
    try:
        model.load_state_dict(part("model"))
        average.load_state_dict(part("average"))
        optimiser.load_state_dict(state)
    except (RuntimeError, ValueError, KeyError) as error:
        reason = one_line(error)
        raise CodesignError(
            f"checkpoint {path} is of another network or optimiser: {reason[:200]}"
        ) from None
    return step, meta


def write_weights(path: Path, network: nn.Module) -> None:
    """Write the weights of a network alone.

    Raises:
        CodesignError: the file cannot be written.
    """
    copies = {
        name: t.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, t in network.state_dict().items()
    }
    temporary = path.with_suffix(".partial")
    try:
        save_file(copies, temporary)
        os.replace(temporary, path)
    except (OSError, safetensors.SafetensorError) as error:
        raise CodesignError(f"cannot write {path}: {error}") from None


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Read what `write_weights` wrote.

    Raises:
        CodesignError: the file is not there or damaged.
    """
    try:
        found: dict[str, torch.Tensor] = load_file(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise CodesignError(f"{path} cannot be read: {one_line(error)}") from None
    return found
