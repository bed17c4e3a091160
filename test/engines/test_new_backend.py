"""A backend that is not the package's: one class, and its name in one place."""

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator

from codesign_ros.cli.main import main
from codesign_ros.cost.half_times import Extent
from codesign_ros.engines.base import EngineKey, OneFrameEngine
from codesign_ros.engines.factory import BACKENDS, open_backend
from codesign_ros.engines.onnx_model.backend import OnnxBackend
from codesign_ros.profiling import timer
from codesign_ros.profiling.profile import profile_cached
from codesign_ros.runtime.engines.share import EngineShare
from codesign_ros.runtime.stages.engine_keys import head_key, tail_key
from codesign_ros.runtime.stages.head import HeadStage
from codesign_ros.runtime.stages.tail import TailStage
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import Structure
from support.runtime import plan_for, whole_scores
from support.tiny import tiny_frames


class ReferenceEngine(OneFrameEngine):
    """ONNX's own interpreter, which is plain numpy."""

    def __init__(self, model, inputs, outputs):
        self.inputs, self.outputs = inputs, outputs
        self._names = [spec.name for spec in outputs]
        self._model = ReferenceEvaluator(model)

    def run(self, tensors):
        return dict(zip(self._names, self._model.run(self._names, tensors), strict=True))

    def close(self):
        self._model = None


class ReferenceBackend(OnnxBackend):
    backend = "reference"
    for_cpu = True

    def _load(self, key, inputs, outputs):
        return ReferenceEngine(self._piece(key), inputs, outputs)


@pytest.fixture(autouse=True)
def named(monkeypatch, engine_cache):
    monkeypatch.setitem(BACKENDS, "reference", f"{__name__}:ReferenceBackend")
    monkeypatch.setenv("CODESIGN_CACHE_DIR", str(engine_cache))


def test_it_runs_frames_as_the_others_do(tiny_bundle):
    (frame,) = tiny_frames(1, seed=3)
    (scores,), (label,) = whole_scores(tiny_bundle, open_backend(tiny_bundle), [frame])
    share = EngineShare().acquire(tiny_bundle.path, "reference")
    plan = plan_for(tiny_bundle, 1, 4, head_structure=Structure.S3_SS)
    leases = [share.pool.lease(key) for key in (head_key(plan), tail_key(plan))]
    head, tail = (lease.thing for lease in leases)
    assert isinstance(tail, ReferenceEngine)
    sent = HeadStage(tiny_bundle, plan, head).run(frame)
    tail_stage = TailStage(tiny_bundle, plan, tail)
    answer = tail_stage.run(tail_stage.decode(sent.encoded))
    np.testing.assert_allclose(answer.class_scores, scores, atol=1e-5)
    assert answer.label == label


def test_it_is_profiled(tiny_bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(timer, "_ROUNDS", 1)
    factory = open_backend(tiny_bundle, "reference", tmp_path)
    extent = Extent(cuts=(4,), structures=(Structure.S3,))
    profile = profile_cached(tiny_bundle, factory, "head", tmp_path, extent)
    assert all(time_s > 0 for time_s in profile.half_s.values())
    assert not profile.estimated
    # ONNX Runtime's profile is another one.
    assert len([*tmp_path.glob("*.profile.cache")]) == 1
    profile_cached(tiny_bundle, open_backend(tiny_bundle), "head", tmp_path, extent)
    assert len([*tmp_path.glob("*.profile.cache")]) == 2


def test_commands_and_errors_name_it(tiny_bundle, capsys):
    backend = ["--backend", "reference"]
    assert main(["export", str(tiny_bundle.path), *backend, "--cuts", "4"]) == 0
    assert "4 engines of reference" in capsys.readouterr().out
    assert main(["profile", "--help"]) == 0
    assert "tensorrt, reference" in " ".join(capsys.readouterr().out.split())
    with pytest.raises(CodesignError, match=r"'fp16' is not available on backend reference; "):
        open_backend(tiny_bundle, "reference").build(EngineKey("head", 1, precision="fp16"))
    with pytest.raises(CodesignError, match=r"unknown backend 'tpu'; known: .*, reference"):
        open_backend(tiny_bundle, "tpu")


def test_one_whose_library_is_missing_is_one_line(tiny_bundle, monkeypatch):
    monkeypatch.setitem(BACKENDS, "tpu", "library_of_tpus.backend:TpuBackend")
    with pytest.raises(
        CodesignError, match=r"^backend tpu does not load \(No module named 'library_of_tpus'\): "
    ):
        open_backend(tiny_bundle, "tpu")
