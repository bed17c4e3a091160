"""What the tests of the runtime share: waiting, recording, counting engines, a bad link."""

import contextlib
import heapq
import random
import threading
import time

import numpy as np

from codesign_ros.engines.ort import OrtBackend
from codesign_ros.runtime.answers import classified
from codesign_ros.runtime.engines.pool import EnginePool
from codesign_ros.runtime.head.runtime import HeadRuntime
from codesign_ros.runtime.head.settings import HeadSettings
from codesign_ros.runtime.messages import Stamp
from codesign_ros.runtime.stages.engine_keys import head_key
from codesign_ros.runtime.tail.runtime import TailRuntime, TailSettings
from codesign_ros.types.plan import Plan

TAIL = "/robot/tail"
# Far beyond what anything here takes: only a defect makes a test wait so long.
PATIENCE_S = 30.0


def wait_until(condition):
    """Wait until ``condition()`` holds; fail if it does not come to hold."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s, "waited too long"
        threading.Event().wait(0.001)


@contextlib.contextmanager
def no_thread_left():
    """Check that all threads that started inside have ended."""
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


class WatchedFactory(OrtBackend):
    """Knows which of the engines it made are open.

    ``spoil`` may replace an engine's run, ``wrap`` the whole engine.
    """

    def __init__(self, bundle, cache_dir):
        super().__init__(bundle, cache_dir=cache_dir)
        self.spoil = None
        self.wrap = lambda engine: engine
        self.made = []
        self.alive = []

    def build(self, key):
        engine = super().build(key)
        if self.spoil is not None:
            self.spoil(key, engine)
        close = engine.close

        def watched_close():
            self.alive.remove(key)  # fails if the engine is closed twice
            close()

        engine.close = watched_close
        self.made.append(key)
        self.alive.append(key)
        return self.wrap(engine)


class BatchEngine:
    """An engine that takes several frames at once; ``before`` is called with those of every run."""

    def __init__(self, engine, max_batch, before=lambda batch: None):
        self._engine = engine
        self._before = before
        self.max_batch = max_batch
        self.warm_up, self.close = engine.warm_up, engine.close

    def run(self, tensors):
        self._before([tensors])
        return self._engine.run(tensors)

    def run_batch(self, batch):
        assert 1 <= len(batch) <= self.max_batch
        self._before(batch)
        return [self._engine.run(tensors) for tensors in batch]


def plan_for(bundle, epoch, cut, **fields):
    fields.setdefault("server_available", True)
    return Plan(cut=cut, epoch=epoch, model_id=bundle.model_id, **fields)


def whole_scores(bundle, factory, frames):
    """Scores (frames, classes) of the whole network, and the index of the best class."""
    last = bundle.last_cut
    engine = factory.build(head_key(plan_for(bundle, 0, last)))
    outputs = (engine.run({"image": frame}) for frame in frames)
    rows = [classified(*output.values(), bundle.classes) for output in outputs]
    engine.close()
    return np.array([row.class_scores for row in rows]), [row.label for row in rows]


class Head:
    """A ``HeadRuntime`` with its results and embeddings in lists."""

    def __init__(self, bundle, factory, *, send_embedding=None, send_result=None, **settings):
        self.results = []
        self.embeddings = []
        settings.setdefault("queue_depth", 1000)
        settings.setdefault("deadline_s", PATIENCE_S)
        emulated_bps = settings.pop("emulated_bps", 0.0)
        clock_ns = settings.pop("clock_ns", lambda: 5_000_000_000)
        self.runtime = HeadRuntime(
            bundle,
            EnginePool(factory),
            HeadSettings(**settings),
            send_embedding=send_embedding or self.embeddings.append,
            send_result=send_result or (lambda result, load: self.results.append(result)),
            clock_ns=clock_ns,
            emulated_bps=emulated_bps,
        )

    def put(self, frame, number=0):
        self.runtime.on_frame(Stamp(number, "camera"), lambda: frame)

    def use(self, plan):
        self.runtime.prepare(plan)
        self.runtime.commit(plan.epoch)

    def wait_for(self, count):
        wait_until(lambda: len(self.results) >= count)


class Tail:
    """A ``TailRuntime`` with its answers in a list."""

    def __init__(
        self, bundle, factory, *, send_answer=None, node=TAIL, session=1, turns=None, **settings
    ):
        self.answers = []
        self.runtime = TailRuntime(
            bundle,
            EnginePool(factory),
            TailSettings(**settings),
            node=node,
            session=session,
            send_answer=send_answer or self.answers.append,
            turns=turns,
        )

    def use(self, plan):
        self.runtime.prepare(plan)
        self.runtime.commit(plan.epoch)

    def wait_for(self, count):
        wait_until(lambda: len(self.answers) >= count)


class BadLink:
    """Carries calls on a thread of its own; loses, doubles, delays and so reorders them.

    Args:
        seed: of all that happens.
        lose, double, delay: probabilities of each.
        longest_s: longest delay.
    """

    def __init__(self, seed, lose=0.0, double=0.0, delay=0.0, longest_s=0.03):
        self._random = random.Random(seed)
        self._chances = lose, double, delay
        self._longest_s = longest_s
        self._waiting = []
        self._count = 0
        self._changed = threading.Condition()
        self._open = True
        self._thread = threading.Thread(target=self._run, name="bad link", daemon=True)
        self._thread.start()

    def carry(self, deliver, what):
        lose, double, delay = self._chances
        with self._changed:
            if self._random.random() < lose:
                return
            for _ in range(1 + (self._random.random() < double)):
                late = self._random.random() < delay
                due_s = time.monotonic() + late * self._random.uniform(0, self._longest_s)
                self._count += 1
                heapq.heappush(self._waiting, (due_s, self._count, deliver, what))
            self._changed.notify_all()

    def close(self):
        with self._changed:
            self._open = False
            self._changed.notify_all()
        self._thread.join()

    def _run(self):
        while True:
            with self._changed:
                while self._open and not (
                    self._waiting and self._waiting[0][0] <= time.monotonic()
                ):
                    left = self._waiting[0][0] - time.monotonic() if self._waiting else None
                    self._changed.wait(left if left is None else max(0.0, left))
                if not self._open:
                    return
                _, _, deliver, what = heapq.heappop(self._waiting)
            deliver(what)
