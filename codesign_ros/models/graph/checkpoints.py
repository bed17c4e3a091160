"""Reads files of weights, without running what is in them, and finds where in them tensors are."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
import torch

from codesign_ros.types.errors import CodesignError, listed, one_line
from codesign_ros.types.lfs import is_lfs_pointer

# Where checkpoints keep the tensors, what is meant for use first.
_KEYS = (
    "state_dict", "model", "model_state_dict", "model_state", "net", "network", "params", "weights",
    "module",
)  # fmt: skip
# Names of weights that are averages of those of many steps: they are meant for use before the last.
_AVERAGED = re.compile(r"(?:^|[_.-])(?:ema|swa|averaged?)(?:$|[_.-])", re.IGNORECASE)
# An optimizer's averages have the weights' names and shapes, and are none.
_OPTIMIZER = "optim"
_DEEPEST = 3
_REFUSED = re.compile(r"GLOBAL (\S+)")
_ALONE = "save its state_dict alone, torch.save(model.state_dict(), FILE)"


class Found(NamedTuple):
    """A mapping with tensors, somewhere in a file.

    Attributes:
        keys: what leads there.
        entries: by name; at least one is a tensor.
    """

    keys: tuple[Any, ...]
    entries: dict[str, Any]

    @property
    def where(self) -> str:
        """The keys as Python writes them; empty for the file's own mapping."""
        return "".join(f"[{key!r}]" for key in self.keys)

    @property
    def is_averaged(self) -> bool:
        """Whether the keys say so."""
        return any(map(is_averaged, self.keys))

    @property
    def rank(self) -> tuple[int, int]:
        """What is likelier meant for use is less: averaged ones, then by where people keep them."""
        known = [_KEYS.index(key) for key in self.keys if key in _KEYS]
        return -sum(map(is_averaged, self.keys)), min(known, default=len(_KEYS) * bool(self.keys))


def is_averaged(name: Any) -> bool:
    """Whether a key, or what stands before the names of weights, says that they are averages."""
    return isinstance(name, str) and _AVERAGED.search(name) is not None


def read_checkpoint(path: Path) -> list[Found]:
    """Find all mappings with tensors in a file.

    Args:
        path: safetensors, or a file of ``torch.save`` that holds tensors, numbers, texts and
            containers of them; options of argparse, scalars of numpy and paths may stand beside.

    Returns:
        At least one, the likeliest first.

    Raises:
        CodesignError: the file cannot be read or holds no tensors by name.
    """
    if not path.is_file():
        raise CodesignError(f"there is no file of weights at {path}")
    if is_lfs_pointer(path):
        raise CodesignError(
            f"weights {path} were not fetched, this is a pointer of Git LFS: run 'git lfs pull' "
            "where it came from"
        )
    content = _content(path)
    found = sorted(_found(content), key=lambda each: each.rank)
    if not found:
        what = f"a {type(content).__name__}"
        if isinstance(content, dict):
            what = listed([f"{str(k)!r} ({type(v).__name__})" for k, v in content.items()])
        raise CodesignError(
            f"weights {path} are not tensors by name: there is {one_line(what or 'nothing')}"
        )
    return found


def _content(path: Path) -> Any:
    try:
        with (
            path.open("rb") as file,
            torch.serialization.safe_globals(_STAND_INS),
            warnings.catch_warnings(),
        ):
            # Of safetensors a mapping in JSON follows the eight bytes of its length.
            if file.read(9)[8:] == b"{":
                return safetensors.torch.load_file(path)
            file.seek(0)
            # Of archives of TorchScript, which are refused then.
            warnings.simplefilter("ignore")
            # By its name torch would take it for what it is not.
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file makes them raise nearly anything
        refused = _REFUSED.search(str(error))
        what = refused[1] if refused else "TorchScript" if "TorchScript" in str(error) else ""
        if what:
            raise CodesignError(
                f"weights {path} hold a {one_line(what)}, which is not read since it could run "
                f"code: {_ALONE}"
            ) from error
        raise CodesignError(
            f"weights {path} cannot be read ({type(error).__name__}): give safetensors, or a file "
            "of torch.save that holds a state_dict and nothing else"
        ) from error


class _StandIn:
    """What is made in the place of values that are no weights, so that no code of theirs runs."""

    def __new__(cls, *_: Any) -> _StandIn:
        return super().__new__(cls)

    def __init__(self, *_: Any) -> None: ...

    def __setstate__(self, _: Any) -> None: ...


_STAND_INS: list[Any] = [
    (type(name, (_StandIn,), {}), name)
    for name in (
        "argparse.Namespace",
        "numpy.core.multiarray.scalar",
        "numpy._core.multiarray.scalar",
        "numpy.dtype",
        "pathlib.PosixPath",
        "pathlib.WindowsPath",
    )
]


def _found(content: Any, keys: tuple[Any, ...] = ()) -> Iterator[Found]:
    """All mappings with tensors inside a value."""
    if isinstance(content, dict):
        entries = {str(name): value for name, value in content.items()}
        if any(isinstance(value, torch.Tensor) for value in entries.values()):
            yield Found(keys, entries)
        inner = list(content.items())
    elif isinstance(content, (list, tuple)):
        inner = list(enumerate(content))
    else:
        return
    if len(keys) < _DEEPEST:
        for key, value in inner:
            if _OPTIMIZER not in str(key).lower():
                yield from _found(value, (*keys, key))
