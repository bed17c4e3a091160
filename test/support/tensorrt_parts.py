"""Builds parts of a shipped network in one form."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from codesign_ros.bundle import Bundle
from codesign_ros.engines.onnx_model.float16 import to_fp16
from codesign_ros.engines.onnx_model.forms import as_onnx
from codesign_ros.engines.onnx_model.pieces import PieceCutter
from codesign_ros.engines.tensorrt.request import BuildRequest
from codesign_ros.engines.tensorrt.versions import load_api
from codesign_ros.types.forms import Merge, Structure
from codesign_ros.types.tensors import TensorSpec

BYTES_OF_A_WEIGHT = {"fp32": 4, "fp16": 2, "int8-tensor": 1, "int8-channel": 1}
WITH_WEIGHTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


@dataclass(frozen=True)
class Part:
    """A head or a tail, as the bundle describes it."""

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


def parts_of(bundle: Bundle) -> list[Part]:
    """Heads of the cuts 1..N and tails of the cuts 0..N-1."""
    last = bundle.last_cut
    # On the wire cut 0 is the uint8 frame; an engine takes it normalised.
    image = (TensorSpec("image", (1, 3, bundle.input.height, bundle.input.width)),)
    crossings = (image, *bundle.crossings[1:])
    heads = [Part(f"head of cut {cut}", image, crossings[cut]) for cut in range(1, last + 1)]
    tails = [Part(f"tail of cut {cut}", crossings[cut], crossings[last]) for cut in range(last)]
    return heads + tails


def build_parts(
    path: Path, structure: Structure, precision: str, names: set[str] | None, built: Path
) -> list[str]:
    """Build parts of a form; return how each that is not right is wrong.

    Args:
        path: the bundle.
        structure: which branches stay.
        precision: one of ``PRECISIONS``.
        names: of the parts; None for all.
        built: folder where pieces that were built have an empty file; equal ones are built once.
    """
    bundle = Bundle.open(path)
    exported = "fp32" if precision == "fp16" else precision
    few = bundle.calibration_frames()[:2]  # nothing here depends on how well the steps fit
    model = as_onnx(bundle.network(), structure, Merge.FOLD, exported, lambda: few)
    cutter = PieceCutter(model, for_cpu=False)
    wrong = []
    for part in parts_of(bundle):
        if names is not None and part.name not in names:
            continue
        piece = cutter.piece(part.inputs, part.outputs)
        if precision == "fp16":
            piece = to_fp16(piece)
        mark = built / hashlib.sha256(precision.encode() + piece).hexdigest()
        if mark.exists():
            continue
        try:
            why = build_one(piece, part, precision)
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
        if why:
            wrong.append(f"{part.name}: {why}")
        else:
            mark.touch()
    return wrong


def build_one(piece: bytes, part: Part, precision: str) -> str | None:
    """Build one part; return what is wrong with it."""
    api = load_api()
    request = BuildRequest(precision, gpu=None)
    draft = api.parse(piece, request)
    # An engine takes its inputs and outputs from the parsed network.
    for specs, is_input in ((part.inputs, True), (part.outputs, False)):
        there = {
            tensor.name: (tensor.shape, tensor.dtype)
            for tensor in draft.tensors
            if tensor.is_input == is_input
        }
        wanted = {spec.name: (tuple(spec.shape), np.dtype(spec.dtype)) for spec in specs}
        if there != wanted:
            return f"{'inputs' if is_input else 'outputs'} are {there}, not {wanted}"
    kinds = {
        layer.get_output(0).dtype.name
        for layer in (draft.network.get_layer(index) for index in range(draft.network.num_layers))
        if layer.type.name in ("CONVOLUTION", "DECONVOLUTION", "MATRIX_MULTIPLY")
    }
    if kinds - {"HALF" if precision == "fp16" else "FLOAT"}:
        return f"layers with weights compute in {kinds}"
    api.configure(draft, request, lambda fraction, text: None)
    engine = api.serialise(draft)
    weights = count_weights(piece)
    if not engine.startswith(b"vtrt") or len(engine) < weights * BYTES_OF_A_WEIGHT[precision]:
        return f"{len(engine)} bytes beginning {engine[:4]!r} for {weights} weights"
    return None


def count_weights(piece: bytes) -> int:
    """Numbers in the weights of convolutions and matrix products."""
    graph = onnx.load_model_from_string(piece).graph
    made_by = {name: node for node in graph.node for name in node.output}
    sizes = {tensor.name: int(np.prod(tensor.dims)) for tensor in graph.initializer}
    found = set()
    for node in graph.node:
        if node.op_type in WITH_WEIGHTS:
            name = node.input[1]
            while name in made_by:  # through rounding or a cast
                name = made_by[name].input[0]
            found.add(name)
    return sum(sizes.get(name, 0) for name in found)
