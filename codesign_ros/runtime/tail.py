"""The server's side: embeddings in, answers out; what does not fit is refused and counted."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from queue import Queue

from codesign_ros.bundle import Bundle
from codesign_ros.engines.factory import EngineFactory
from codesign_ros.runtime.emulation import stretched
from codesign_ros.runtime.engine_pool import EnginePool
from codesign_ros.runtime.epochs import EpochTable
from codesign_ros.runtime.head import check_plan
from codesign_ros.runtime.stages import Scores, TailStage, tail_key
from codesign_ros.runtime.values import Embedding, EmbeddingKind, Result, Status
from codesign_ros.types import Plan
from codesign_ros.wire.decode import WireError


@dataclass
class TailSettings:
    """What can be set on a tail while it runs.

    Attributes:
        queue_depth: embeddings that may wait for the tail; one more is refused.
        slowdown: emulated: the device is so many times slower than this machine; 0 or 1 = off.
    """

    queue_depth: int = 8
    slowdown: float = 0.0


class TailRuntime:
    """Runs tails by epoch, one embedding after the other on a thread of its own.

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
            stage = TailStage(self._bundle, plan, self._pool.get(tail_key(plan)))
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
        if embedding.kind is EmbeddingKind.PROBE:
            self.counts["probes"] += 1
            self._send_answer(
                Result(embedding.stamp, embedding.sequence, embedding.epoch, status=Status.PROBE)
            )
            return
        self.counts["embeddings"] += 1
        try:
            stage = self._accept(embedding)
        except WireError as error:
            self._refuse(embedding, error)
            return
        self._queue.put((embedding, stage, received_s))

    def close(self) -> None:
        """Answer what has been accepted, then stop."""
        self._queue.put(None)
        self._thread.join()

    def _accept(self, embedding: Embedding) -> TailStage:
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
            # Believed only from an embedding that fits a plan, and never beyond its own epoch.
            self._epochs.drop_before(min(embedding.oldest_epoch, embedding.epoch))
        if self._queue.qsize() >= self.settings.queue_depth:
            raise WireError("busy", f"{self._queue.qsize()} embeddings wait already")
        return stage

    def _refuse(self, embedding: Embedding, error: WireError) -> None:
        self.refusals[error.reason] += 1
        self.last_refusal = f"frame {embedding.sequence}: {error}"
        self._send_answer(
            Result(
                embedding.stamp,
                embedding.sequence,
                embedding.epoch,
                status=Status.REFUSED,
                reason=str(error),
            )
        )

    # The compute thread

    def _compute(self) -> None:
        while (item := self._queue.get()) is not None:
            self._run(*item)

    def _run(self, embedding: Embedding, stage: TailStage, received_s: float) -> None:
        started_s = time.perf_counter()
        decode_s = 0.0

        def work() -> Scores:
            nonlocal decode_s
            tensors = stage.decode(embedding.tensors)
            decode_s = time.perf_counter() - started_s
            return stage.run(tensors)

        try:
            scores = stretched(work, self.settings.slowdown)
        except WireError as error:
            self._refuse(embedding, error)
            return
        decode_s *= max(1.0, self.settings.slowdown)
        self.counts["answers"] += 1
        self._send_answer(
            Result(
                embedding.stamp,
                embedding.sequence,
                embedding.epoch,
                label=scores.label,
                score=scores.score,
                class_names=scores.class_names,
                class_scores=scores.class_scores,
                queue_s=started_s - received_s,
                decode_s=decode_s,
                tail_s=time.perf_counter() - started_s - decode_s,
            )
        )
