"""Finds the installed TensorRT."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from codesign_ros.types.errors import CodesignError, one_line

# Modules to import in order; the last one is the library. A wheel of the library alone comes before
# its bindings, which find it once it is loaded.
_LIBRARIES = (
    ("tensorrt", ("tensorrt",)),
    ("tensorrt-rtx", ("tensorrt_rtx",)),
    ("tensorrt-rtx", ("tensorrt_rtx_libs", "tensorrt_rtx_bindings")),
)


def find_library() -> tuple[Any, str]:
    """Return TensorRT's Python module and its flavour: NVIDIA's main package, else that for RTX.

    Raises:
        CodesignError: there is none, or it does not load.
    """
    broken = []
    for flavour, modules in _LIBRARIES:
        try:
            library = _import_all(modules)
        except ModuleNotFoundError as error:
            if error.name not in modules:
                broken.append(f"{modules[-1]}: {one_line(error)}")
        except (ImportError, OSError, RuntimeError) as error:
            broken.append(f"{modules[-1]}: {one_line(error)}")
        else:
            return library, flavour
    if broken:
        raise CodesignError(f"TensorRT is installed but does not load ({'; '.join(broken)})")
    raise CodesignError(
        "TensorRT is not installed: on a Jetson it comes with JetPack, and the virtual environment "
        "needs --system-site-packages; elsewhere pip install tensorrt, or tensorrt-rtx for RTX GPUs"
    )


def _import_all(modules: Sequence[str]) -> Any:
    return [importlib.import_module(name) for name in modules][-1]
