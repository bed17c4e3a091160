"""Exports a module with torch, and says in one line why one cannot be."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn
from torch.export import ExportedProgram
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode

from codesign_ros.types.errors import CodesignError
from codesign_ros.types.tensors import InputSpec

_TORCH = f"{Path(torch.__file__).parent}{os.sep}"


def export(module: nn.Module, input: InputSpec) -> ExportedProgram:
    """Export a module for one image, with functional operations only.

    Raises:
        CodesignError: the module does not accept the image, or cannot be traced.
    """
    image = torch.zeros(1, 3, input.height, input.width)
    with torch.no_grad():
        try:
            module(image)
        except Exception as error:  # the user's code may raise anything
            raise CodesignError(
                f"the network does not accept an image of {input.height}x{input.width}: "
                f"{first_line(error)}{_place(error)}"
            ) from error
        try:
            with _silence():
                program = torch.export.export(module, (image,), strict=False)
                return program.run_decompositions({})
        except GuardOnDataDependentSymNode as error:
            raise CodesignError(
                "the network cannot be traced: what it does next depends on the numbers in a tensor"
                f"{_place(error)}"
            ) from error
        except Exception as error:
            raise CodesignError(
                f"the network cannot be traced: {first_line(error)}{_place(error)}"
            ) from error


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep torch from printing all it knows when a network cannot be traced."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    nowhere = io.StringIO()
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(nowhere),
            contextlib.redirect_stderr(nowhere),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def _place(error: Exception) -> str:
    """Say where in the network's code an error arose, torch's own code left out."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith((_TORCH, "<", __file__))
    ]
    return f" ({frames[-1].filename}:{frames[-1].lineno}: {frames[-1].line})" if frames else ""


def first_line(error: BaseException) -> str:
    """Say of an error of other people's code what it is, shortened to one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200] if lines else 'no text'}"
