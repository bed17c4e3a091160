"""Stands in for a TensorRT whose libraries are not there, and is as strict as its real bindings.

An object of it has the methods and properties that the real class has in that version and no
others, takes as many arguments of such types as the real method says in its signature, and returns
what that says. What it is asked is noted.

Run as a program, with the bindings and stubs of their libraries in the environment, it takes the
engines' code through builds and runs and prints as JSON what TensorRT was asked in each:

    python strict_tensorrt.py MODULE FLAVOUR
"""

import importlib
import inspect
import json
import re
import sys
import traceback

import onnx
from onnx import TensorProto, helper

from codesign_ros.engines.tensorrt.build import build_engine
from codesign_ros.engines.tensorrt.request import BuildRequest
from codesign_ros.engines.tensorrt.versions import Api
from codesign_ros.types.errors import CodesignError

MADE = ("Builder", "OnnxParser", "Runtime")
ENGINE = b"an engine" * 10
TIMINGS = b"timings"

# What a machine would answer: two DLA cores, a network and an engine from x to y.
ANSWERS = {
    "Builder.num_DLA_cores": 2,
    "INetworkDefinition.num_inputs": 1,
    "INetworkDefinition.num_outputs": 1,
    "ITensor.shape": (-1, 3, 8, 8),
    "ICudaEngine.num_io_tensors": 2,
    "ICudaEngine.get_tensor_shape": (-1, 3, 8, 8),
    "OnnxParser.num_errors": 0,
    "IExecutionContext.is_stream_capturable": True,
}


class Memory(bytes):
    """An IHostMemory: bytes() copies it."""


class Strict:
    """A stand-in for an object of one of the bindings' classes."""

    def __init__(self, trt, kind, arguments=()):
        self.__dict__.update(_trt=trt, _kind=kind, _arguments=arguments, _set={})

    def _name(self, attribute):
        return f"{self._kind.__name__}.{attribute}"

    def __getattr__(self, attribute):
        there = inspect.getattr_static(self._kind, attribute, None)
        if there is None:
            raise AttributeError(f"{self._name(attribute)} is not in {self._trt.real.__version__}")
        name = self._name(attribute)
        if isinstance(there, property):
            self._trt.calls.append((name, []))
            if attribute in self._set:
                return self._set[attribute]
            return self._trt.answer(name, self._arguments, (), None)
        signatures = read_signatures(there.__doc__)

        def call(*arguments):
            self._trt.calls.append((name, [self._trt.plain(each) for each in arguments]))
            returns = self._trt.check(name, signatures, arguments)
            return self._trt.answer(name, self._arguments, arguments, returns)

        return call

    def __setattr__(self, attribute, value):
        there = inspect.getattr_static(self._kind, attribute, None)
        if not isinstance(there, property) or there.fset is None:
            raise AttributeError(f"{self._name(attribute)} cannot be set")
        self._trt.calls.append((f"{self._name(attribute)}=", [self._trt.plain(value)]))
        self._set[attribute] = value


class StrictTensorRt:
    """A stand-in for the bindings' module: everything of it is real except what it makes."""

    def __init__(self, real, **answers):
        self.real = real
        self.calls = []
        self._answers = {**ANSWERS, **{k.replace("__", "."): v for k, v in answers.items()}}

    def __getattr__(self, name):
        value = getattr(self.real, name)  # an AttributeError as the real module's
        if name not in MADE:
            return value

        def make(*arguments):
            self.calls.append((name, []))
            self.check(name, read_signatures(value.__init__.__doc__), arguments)
            answer = self._answers.get(name, True)
            if isinstance(answer, Exception):
                raise answer
            return Strict(self, value)

        return make

    def plain(self, value):
        """A value as the report shows it."""
        if isinstance(value, Strict):
            return value._kind.__name__
        if isinstance(value, (int, str, bool, float, type(None))):
            return value
        if isinstance(value, tuple):
            return list(value)
        if isinstance(value, bytes):
            return f"{len(value)} bytes"
        return getattr(value, "name", None) or type(value).__name__

    def check(self, name, signatures, arguments):
        """Hold arguments against the real signatures; return what the one that fits returns."""
        for parameters, returns in signatures:
            needed = [kind for kind, has_default in parameters if not has_default]
            if len(needed) <= len(arguments) <= len(parameters) and all(
                self._fits(kind, argument)
                for (kind, _), argument in zip(parameters, arguments, strict=False)
            ):
                return returns
        raise TypeError(f"{name} takes {signatures}, not {arguments}")

    def _fits(self, kind, argument):
        if kind in ("int", "typing.SupportsInt", "SupportsInt"):
            return hasattr(type(argument), "__int__") and not isinstance(argument, str)
        if kind.rpartition(".")[2] in ("buffer", "Buffer"):  # of typing_extensions, collections.abc
            return isinstance(argument, (bytes, bytearray, memoryview))
        if kind in ("str", "bool"):
            return isinstance(argument, {"str": str, "bool": bool}[kind])
        last = kind.rpartition(".")[2]
        if last in ("Dims", "tuple"):
            return isinstance(argument, tuple) and all(type(each) is int for each in argument)
        real = self.real_class(kind)
        if isinstance(argument, Strict):
            return issubclass(argument._kind, real)
        return isinstance(argument, real)

    def real_class(self, kind):
        last = re.split(r"[.:]", kind)[-1]
        # The bindings name three of the library's classes otherwise than it does.
        return getattr(self.real, {"IParserError": "ParserError"}.get(last, last))

    def answer(self, name, made_with, arguments, returns):
        if name in self._answers:
            answer = self._answers[name]
            return answer(self.real) if callable(answer) else answer
        if name in ("ITensor.dtype", "ICudaEngine.get_tensor_dtype"):
            return self.real.DataType.FLOAT
        if name == "Builder.platform_has_fast_fp16":
            return True
        if name == "ITensor.name":
            return {"get_input": "x", "get_output": "y"}[made_with[0]]
        if name == "ICudaEngine.get_tensor_name":
            return "xy"[arguments[0]]
        if name == "ICudaEngine.get_tensor_mode":
            modes = self.real.TensorIOMode
            return modes.INPUT if arguments[0] == "x" else modes.OUTPUT
        if returns is None:
            raise AssertionError(f"say what {name} is")
        last = re.split(r"[.:]", returns)[-1]
        if last == "IHostMemory":
            return Memory(TIMINGS if name.startswith("ITimingCache") else ENGINE)
        if last in ("None", "bool", "int"):
            return {"None": None, "bool": True, "int": 0}[last]
        return Strict(self, self.real_class(returns), (name.rpartition(".")[2],))


def read_signatures(doc):
    """Signatures in a docstring of pybind11: ([(type, has a default)], what it returns) each."""
    found = []
    for parameters, returns in re.findall(r"^(?:\d+\. )?\w+\((.*)\) -> (.+)$", doc, re.MULTILINE):
        depth, fields = 0, [""]
        for character in parameters:
            depth += (character in "[(<") - (character in "])>")
            if character == "," and depth == 0:
                fields.append("")
            else:
                fields[-1] += character
        typed = [field.partition(": ")[2] for field in fields[1:]]  # without self
        found.append(([(t.partition(" = ")[0], " = " in t) for t in typed], returns.strip()))
    assert found, f"no signature in {doc!r}"
    return found


def piece_of_one(operator="Relu"):
    node = helper.make_node(operator, ["x"], ["y"], name="the_node")
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ("batch", 3, 8, 8)) for n in "xy"]
    graph = helper.make_graph([node], "piece", ends[:1], ends[1:])
    return helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])


def build(real, flavour, request, timings=b"", **answers):
    """Build through the strict double; return what was asked, and the end."""
    trt = StrictTensorRt(real, **answers)
    texts = []
    piece = piece_of_one().SerializeToString()
    report = {}
    try:
        built = build_engine(
            Api(trt, flavour), piece, request, timings, lambda _, text: texts.append(text)
        )
        report["engine"] = len(built.engine)
        report["timings"] = built.timing_cache.decode()
    except CodesignError as error:
        report["error"] = str(error)
    return {**report, "calls": trt.calls, "texts": texts}


def run(real, flavour, dla_core=None, **answers):
    trt = StrictTensorRt(real, **answers)
    api = Api(trt, flavour)
    report = {}
    try:
        loaded = api.deserialize(ENGINE, dla_core)
        report["tensors"] = [
            (t.name, t.is_input, t.shape, t.dtype.name) for t in api.tensors(loaded)
        ]
        for _ in range(2):
            context = api.create_context(loaded)
        report["set"] = [
            context.set_input_shape("x", (2, 3, 8, 8)),
            context.set_tensor_address("x", 4096),
            context.execute_async_v3(8192),
            api.is_capturable(context, 8192),
        ]
    except CodesignError as error:
        report["error"] = str(error)
    return {**report, "calls": trt.calls}


def all_reports(real, flavour):
    reports = {"version": real.__version__}
    for precision in ("fp32", "fp16", "int8-tensor", "int8-channel"):
        request = BuildRequest(precision, max_batch=4, workspace_bytes=1 << 28)
        reports[precision] = build(real, flavour, request)
    on_dla = BuildRequest("fp16", dla_core=1)
    reports["dla"] = build(real, flavour, on_dla)
    reports["no dla"] = build(real, flavour, on_dla, Builder__num_DLA_cores=1)
    plain = BuildRequest("fp32")
    reports["no gpu"] = build(real, flavour, BuildRequest("fp32", gpu=None))
    reports["timings"] = build(real, flavour, plain, timings=b"of before")
    reports["foreign timings"] = build(
        real, flavour, plain, timings=b"of another", IBuilderConfig__set_timing_cache=False
    )
    reports["refused node"] = build(
        real, flavour, plain, OnnxParser__parse=False, OnnxParser__num_errors=1,
        ParserError__node=0, ParserError__node_operator="Relu",
        ParserError__node_name="the_node", ParserError__desc="it cannot",
    )  # fmt: skip
    reports["no engine"] = build(
        real, flavour, plain, Builder__build_serialized_network=lambda _: None
    )
    reports["no driver"] = build(
        real, flavour, plain, Builder=TypeError("factory function returned nullptr")
    )
    reports["run"] = run(real, flavour, dla_core=1)
    reports["bad engine"] = run(real, flavour, Runtime__deserialize_cuda_engine=lambda _: None)
    reports["no memory"] = run(real, flavour, ICudaEngine__create_execution_context=lambda _: None)
    return reports


if __name__ == "__main__":
    module, flavour = sys.argv[1:]
    if module == "tensorrt_rtx_bindings":
        importlib.import_module("tensorrt_rtx_libs")
    try:
        print(json.dumps(all_reports(importlib.import_module(module), flavour)))
    except Exception:
        traceback.print_exc()
        sys.exit(1)
