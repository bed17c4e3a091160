"""The server's side: embeddings in, answers out; what does not fit is refused and counted."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import Queue

from codesign_ros.bundle import Bundle
from codesign_ros.engines.factory import EngineFactory
from codesign_ros.postprocess import Selection
from codesign_ros.runtime.answers import Answer
from codesign_ros.runtime.emulation import stretched
from codesign_ros.runtime.engine_pool import EnginePool
from codesign_ros.runtime.epochs import EpochTable
from codesign_ros.runtime.stages import TailStage, check_plan, tail_key
from codesign_ros.runtime.values import Embedding, EmbeddingKind, Result, Status, unexpected
from codesign_ros.types import CodesignError, Plan
from codesign_ros.wire.decode import WireError

_log = logging.getLogger(__name__)


@dataclass
class TailSettings:
    """What can be set on a tail while it runs.

    Attributes:
        queue_depth: embeddings that may wait for the tail; one more is refused.
        slowdown: emulated: the device is so many times slower than this machine; 0 or 1 = off.
        selection: which boxes of a detector are answers.
    """

    queue_depth: int = 8
    slowdown: float = 0.0
    selection: Selection = field(default_factory=Selection)


class TailRuntime:
    """Runs tails by epoch, one embedding after the other on a thread of its own.

    Every embedding is answered. ``refusals`` counts those that were refused, by reason: those of
    ``codesign_ros.wire.decode.REASONS`` and ``kind``, ``model``, ``epoch``, ``cut``, ``busy``,
    ``closed``, ``output`` (it makes no finite answer) and ``internal`` (nobody foresaw it; it is
    logged and costs this embedding alone).

    Args:
        bundle: the network.
        factory: makes its engines.
        settings: see ``TailSettings``; may be changed while running.
        send_answer: hands an answer to the middleware.
    """

    def __init__(
        self,
        bundle: Bundle,
        factory: EngineFactory,
        settings: TailSettings,
        *,
        send_answer: Callable[[Result], None],
    ) -> None:
        self.settings = settings
        self.counts: Counter[str] = Counter()
        self.refusals: Counter[str] = Counter()
        self.last_refusal = ""
        self._bundle = bundle
        self._send_answer = send_answer
        self._pool = EnginePool(factory)
        nothing = Plan(cut=len(bundle.segments), model_id=bundle.model_id, reason="no plan yet")
        self._epochs: EpochTable[TailStage | None] = EpochTable(nothing, None)
        self._lock = threading.Lock()
        self._closed = False
        self._queue: Queue[tuple[Embedding, TailStage, float] | None] = Queue()
        self._thread = threading.Thread(target=self._compute, name="tail-compute", daemon=True)
        self._thread.start()

    # Plans

    @property
    def plan(self) -> Plan:
        """The plan in force."""
        with self._lock:
            return self._epochs.plan

    @property
    def epochs(self) -> tuple[int, ...]:
        """Epochs whose embeddings are accepted, oldest first."""
        with self._lock:
            return self._epochs.epochs

    def prepare(self, plan: Plan) -> None:
        """Build and warm the tail of a plan beside the running one.

        Raises:
            CodesignError: the plan is for another network, not newer, or cannot be built.
        """
        check_plan(plan, self._bundle)
        stage = None
        if plan.cut < len(self._bundle.segments):
            engine = self._pool.get(tail_key(plan))
            stage = TailStage(self._bundle, plan, engine, lambda: self.settings.selection)
        with self._lock:
            self._epochs.prepare(plan, stage)

    def commit(self, epoch: int) -> None:
        """Note which epoch the head is in now; older ones stay until the head has drained them.

        Raises:
            CodesignError: the epoch was not prepared.
        """
        with self._lock:
            self._epochs.commit(epoch)

    # Embeddings

    def on_embedding(self, embedding: Embedding) -> None:
        """Take an embedding; every frame gets an answer, if only that it is refused and why."""
        received_s = time.perf_counter()
        if embedding.kind == EmbeddingKind.PROBE:
            self.counts["probes"] += 1
            self._answer(
                Result(embedding.stamp, embedding.sequence, embedding.epoch, status=Status.PROBE)
            )
            return
        self.counts["embeddings"] += 1
        try:
            self._accept(embedding, received_s)
        except WireError as error:
            self._refuse(embedding, error)

    def close(self) -> None:
        """Answer what has been accepted, then stop."""
        with self._lock:
            self._closed = True
            self._queue.put(None)
        self._thread.join()

    def _accept(self, embedding: Embedding, received_s: float) -> None:
        """Queue an embedding if it fits what is prepared here."""
        if embedding.kind != EmbeddingKind.FRAME:
            raise WireError("kind", f"kind {embedding.kind} of embeddings is not known")
        if embedding.model_id != self._bundle.model_id:
            raise WireError(
                "model",
                f"the embedding is of network {embedding.model_id!r}, this tail has "
                f"{self._bundle.model_id!r}; start head and tail with the same bundle",
            )
        with self._lock:
            stage = self._epochs.find(embedding.epoch)
            if stage is None:
                raise WireError("epoch", f"epoch {embedding.epoch} is not prepared here")
            if embedding.cut != stage.plan.cut:
                raise WireError(
                    "cut", f"cut {embedding.cut} came, epoch {embedding.epoch} is {stage.plan.cut}"
                )
            if self._closed:
                raise WireError("closed", "the tail is not active any more")
            if self._queue.qsize() >= self.settings.queue_depth:
                raise WireError("busy", f"{self._queue.qsize()} embeddings wait already")
            self._queue.put((embedding, stage, received_s))

    def _refuse(self, embedding: Embedding, error: WireError, queue_s: float = 0.0) -> None:
        with self._lock:
            self.refusals[error.reason] += 1
            self.last_refusal = f"frame {embedding.sequence}: {error}"
        self._answer(
            Result(
                embedding.stamp,
                embedding.sequence,
                embedding.epoch,
                status=Status.REFUSED,
                reason=str(error),
                queue_s=queue_s,
            )
        )

    def _answer(self, answer: Result) -> None:
        try:
            self._send_answer(answer)
        except Exception:
            _log.exception("the answer for frame %d could not be sent", answer.sequence)
            with self._lock:
                self.counts["errors"] += 1

    # The compute thread

    def _compute(self) -> None:
        # Nothing is kept in a variable here: it would hold on to an embedding, or to the engines
        # of an old epoch, until the next embedding comes.
        while self._compute_next():
            pass

    def _compute_next(self) -> bool:
        """Wait for an embedding and answer it; False when the tail is closed."""
        item = self._queue.get()
        if item is None:
            return False
        embedding, stage, received_s = item
        queue_s = time.perf_counter() - received_s
        try:
            answer = self._run(embedding, stage, queue_s)
        except WireError as error:
            self._refuse(embedding, error, queue_s)
        except CodesignError as error:
            self._refuse(embedding, WireError("output", str(error)), queue_s)
        except Exception as error:
            _log.exception("the tail failed on frame %d", embedding.sequence)
            self._refuse(embedding, WireError("internal", unexpected(error)), queue_s)
        else:
            self.counts["answers"] += 1
            with self._lock:
                # Believed only from a sound embedding, and never beyond its own epoch.
                self._epochs.drop_before(min(embedding.oldest_epoch, embedding.epoch))
            self._answer(answer)
        return True

    def _run(self, embedding: Embedding, stage: TailStage, queue_s: float) -> Result:
        started_s = time.perf_counter()
        decode_s = 0.0

        def work() -> Answer:
            nonlocal decode_s
            tensors = stage.decode(embedding.tensors)
            decode_s = time.perf_counter() - started_s
            return stage.run(tensors)

        answer = stretched(work, self.settings.slowdown)
        decode_s *= max(1.0, self.settings.slowdown)
        return Result(
            embedding.stamp,
            embedding.sequence,
            embedding.epoch,
            **vars(answer),
            queue_s=queue_s,
            decode_s=decode_s,
            tail_s=time.perf_counter() - started_s - decode_s,
        )
