"""Makes the module that a user names: from torchvision, timm, a file or an installed package."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from codesign_ros.models.graph.export import first_line
from codesign_ros.models.graph.network_name import ZOOS, split_name
from codesign_ros.types.errors import CodesignError


def make_module(spec: str, args: Mapping[str, Any], *, pretrained: bool = False) -> nn.Module:
    """Make the module that ``spec`` names.

    Args:
        spec: as :func:`split_name` takes it; in a file or package a class, a function that makes a
            module, or a module. That code is run.
        args: arguments for it.
        pretrained: with torchvision and timm, download the weights that they come with.

    Raises:
        CodesignError: there is no such thing, it does not take the arguments, it makes no module,
            or the weights cannot be downloaded.
    """
    source, name = split_name(spec, pretrained=pretrained)
    if source in ZOOS:
        find = _torchvision if source == "torchvision" else _timm
        make, own = find(name, pretrained)
    else:
        make, own = _attribute(source, name), {}
    if isinstance(make, nn.Module):
        if args:
            raise CodesignError(f"{spec} is a module already, so it takes no arguments")
        return make
    if not callable(make):
        raise CodesignError(f"{spec} is a {type(make).__name__}, not a class or function")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = make(**own, **args)
    except (Exception, SystemExit) as error:  # the code of others may raise anything
        what = "cannot be downloaded or made" if pretrained else "cannot be made"
        raise CodesignError(f"{spec} {what}: {first_line(error)}") from error
    if not isinstance(module, nn.Module):
        raise CodesignError(f"{spec} makes a {type(module).__name__}, not a torch.nn.Module")
    return module


def _torchvision(name: str, pretrained: bool) -> tuple[Callable[..., Any], dict[str, Any]]:
    from torchvision import models

    if name not in models.list_models():
        raise CodesignError(
            f"torchvision has no model {name!r}; try resnet50 or mobilenet_v3_large"
        )
    make = models.get_model_builder(name)
    own: dict[str, Any] = {"weights": "DEFAULT" if pretrained else None}
    known = inspect.signature(make).parameters
    if not pretrained and "weights_backbone" in known:
        own["weights_backbone"] = None
    if not pretrained and name in ("googlenet", "inception_v3"):
        # Minutes of drawing truncated normal numbers that are then replaced.
        own["init_weights"] = False
    return make, own


def _timm(name: str, pretrained: bool) -> tuple[Callable[..., Any], dict[str, Any]]:
    try:
        import timm
    except ImportError:
        raise CodesignError("timm is not installed; `pip install timm`") from None
    if not timm.is_model(name.partition(".")[0]):
        raise CodesignError(f"timm has no model {name!r}; see timm.list_models()")
    return timm.create_model, {"model_name": name, "pretrained": pretrained}


def _attribute(source: str, name: str) -> Any:
    """Import a file or a module, and return what it calls ``name``."""
    try:
        module = _file(Path(source)) if source.endswith(".py") else _package(source)
    except (Exception, SystemExit) as error:  # the user's code may raise anything, a program ends
        raise CodesignError(f"{source} cannot be imported: {first_line(error)}") from error
    if not hasattr(module, name):
        raise CodesignError(f"{source} has no {name!r}")
    return getattr(module, name)


def _file(path: Path) -> Any:
    # Under its own name, so that it may import what lies beside it.
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent.resolve()))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent.resolve()))
    return module


def _package(name: str) -> Any:
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(here)
