"""Builds one engine, in this process. It takes seconds to minutes, and much memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from codesign_ros.engines.tensorrt.reports import Progress
from codesign_ros.engines.tensorrt.request import BuildRequest
from codesign_ros.types.errors import CodesignError

if TYPE_CHECKING:
    from codesign_ros.engines.tensorrt.versions import Api


@dataclass(frozen=True)
class Built:
    """A built engine.

    Attributes:
        engine: serialised.
        timing_cache: all timings known now, for builds to come; b"" if this TensorRT takes none.
    """

    engine: bytes
    timing_cache: bytes


def build_engine(
    api: Api, piece: bytes, request: BuildRequest, timing_cache: bytes, progress: Progress
) -> Built:
    """Build an engine from a piece of ONNX.

    Args:
        api: the TensorRT to build with.
        piece: the piece; with a free batch where ``request.max_batch`` is not 1.
        request: how to build it.
        timing_cache: timings of former builds, b"" = none. Those of another GPU or version, and
            damaged ones, are left out.
        progress: told how far the build is.

    Raises:
        CodesignError: TensorRT does not take the piece, or cannot build the engine.
    """
    progress(None, "reading the network")
    draft = api.parse(piece, request)
    fixed = [t for t in draft.tensors if t.is_input and (not t.shape or t.shape[0] != -1)]
    if request.max_batch > 1 and fixed:
        raise CodesignError(
            f"a batch of up to {request.max_batch} is asked for, but input '{fixed[0].name}' has "
            f"the fixed shape {fixed[0].shape}; set tensorrt.max_batch to 1"
        )
    api.configure(draft, request, progress)
    if not api.use_timing_cache(draft, timing_cache):
        progress(None, "timings of former builds are of another GPU or version: begins anew")
    progress(None, "building")
    return Built(api.serialise(draft), api.timing_cache(draft))
