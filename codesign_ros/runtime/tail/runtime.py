"""The server's side: embeddings in, answers out; what does not fit is refused and counted."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from codesign_ros.bundle import Bundle
from codesign_ros.pixels.boxes import Selection
from codesign_ros.runtime.answers import Answer
from codesign_ros.runtime.emulation import stretched
from codesign_ros.runtime.engines.pool import EnginePool
from codesign_ros.runtime.engines.turns import FairTurns
from codesign_ros.runtime.messages import Embedding, EmbeddingKind, Stamp, TailAnswer, TailStatus
from codesign_ros.runtime.tail.batch import Waiting, run
from codesign_ros.runtime.tail.plans import TailPlans, release
from codesign_ros.types.errors import CodesignError, unexpected
from codesign_ros.types.plan import Plan
from codesign_ros.wire.decode import WireError

_log = logging.getLogger(__name__)

# A tail that leaves waits until no frame has come for so long, but no longer than this in all [s].
_QUIET_S, _LEAVING_S, _LOOK_S = 0.3, 1.0, 0.02

_CLOSED = "the tail is not active any more"


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
    """Runs tails by epoch on a thread of its own, embeddings in the order in which they come.

    Those that wait together for an engine that can run several at once go through it together.
    Where other robots' tails share the device, they take turns with this one.

    Every embedding is answered. ``refusals`` counts those that were refused, by reason: those of
    ``codesign_ros.wire.refusal.REASONS`` and ``kind``, ``model``, ``epoch``, ``cut``, ``busy``,
    ``closed``, ``output`` (it makes no finite answer) and ``internal`` (nobody foresaw it; it is
    logged and costs this embedding alone). ``counts`` has ``batches`` of several that were run at
    once, and ``batches_failed``, after which each was run alone.

    Args:
        bundle: the network.
        pool: leases its engines.
        settings: see ``TailSettings``; may be changed while running.
        node: who answers, fully qualified.
        session: number of its start.
        send_answer: hands an answer to the middleware.
        turns: of the device, shared with other robots' tails; None = it is this one's alone.
    """

    def __init__(
        self,
        bundle: Bundle,
        pool: EnginePool,
        settings: TailSettings,
        *,
        node: str,
        session: int,
        send_answer: Callable[[TailAnswer], None],
        turns: FairTurns | None = None,
    ) -> None:
        self.settings = settings
        self.counts: Counter[str] = Counter()
        self.refusals: Counter[str] = Counter()
        self.last_refusal = ""
        self._bundle = bundle
        self._node, self._session = node, session
        self._send_answer = send_answer
        self._turns = turns or FairTurns(at_once=1)
        self._plans = TailPlans(bundle, pool, lambda: settings.selection)
        self._changed = threading.Condition()
        self._closed = self._leaving = False
        self._closing = threading.Event()
        # When the newest frame came, by ``time.perf_counter`` [s].
        self._asked_s = 0.0
        self._waiting: deque[Waiting] = deque()
        self._thread = threading.Thread(target=self._compute, name="tail-compute", daemon=True)
        self._thread.start()

    # Plans

    @property
    def plan(self) -> Plan:
        """The plan in force."""
        with self._changed:
            return self._plans.plan

    @property
    def epochs(self) -> tuple[int, ...]:
        """Epochs whose embeddings are accepted, oldest first."""
        with self._changed:
            return self._plans.epochs

    def prepare(self, plan: Plan) -> None:
        """Build and warm the tail of a plan beside the running one.

        Raises:
            CodesignError: the plan is for another network, its epoch is taken, or it cannot be
                built; or the tail was closed meanwhile.
        """
        leased = self._plans.build(plan)
        try:
            with self._changed:
                if self._closed:
                    raise CodesignError(_CLOSED)
                self._plans.add(plan, leased)
        except CodesignError:
            release(leased)
            raise

    def commit(self, epoch: int) -> None:
        """Note which epoch the head is in now; older ones stay until the head has drained them.

        Raises:
            CodesignError: the epoch was not prepared.
        """
        with self._changed:
            self._plans.commit(epoch)

    # Embeddings

    def on_embedding(self, embedding: Embedding) -> None:
        """Take an embedding; every frame gets an answer, if only that it is refused and why."""
        received_s = time.perf_counter()
        if embedding.kind == EmbeddingKind.PROBE:
            self.counts["probes"] += 1
            if not self._leaving:
                self._answer(embedding, status=TailStatus.PROBE)
            return
        self.counts["embeddings"] += 1
        self._asked_s = received_s
        try:
            self._accept(embedding, received_s)
        except WireError as error:
            self._refuse(embedding, error)

    def leave(self) -> None:
        """Tell the head that this tail stops soon, and wait until it sends nothing more.

        What comes meanwhile is answered, but for probes: they would say that somebody is here.
        """
        with self._changed:
            self._leaving = True
            about = Stamp(0), 0, self._plans.plan.epoch
            sessions = self._plans.sessions
            self._asked_s = time.perf_counter()
        for session in sessions:
            self._send(TailAnswer(*about, session=session, status=TailStatus.LEAVING))
        give_up_s = time.perf_counter() + _LEAVING_S
        with self._changed:
            while (now_s := time.perf_counter()) < give_up_s:
                left_s = self._asked_s + _QUIET_S - now_s
                if left_s <= 0 and not self._waiting:
                    return
                self._changed.wait(min(max(left_s, _LOOK_S), give_up_s - now_s))

    def close(self) -> None:
        """Answer what has been accepted, then stop and give all engines back."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._closing.set()
        self._thread.join()
        with self._changed:
            self._plans.close()

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
        with self._changed:
            if self._closed:
                raise WireError("closed", _CLOSED)
            leased = self._plans.find(embedding.epoch)
            if leased is None:
                raise WireError("epoch", f"epoch {embedding.epoch} is not prepared here")
            cut = leased.stage.plan.cut
            if embedding.cut != cut:
                raise WireError(
                    "cut", f"cut {embedding.cut} came, epoch {embedding.epoch} is {cut}"
                )
            if len(self._waiting) >= self.settings.queue_depth:
                raise WireError("busy", f"{len(self._waiting)} embeddings wait already")
            self._waiting.append(Waiting(embedding, leased.again(), received_s))
            self._changed.notify_all()

    def _refuse(self, embedding: Embedding, error: WireError, queue_s: float = 0.0) -> None:
        with self._changed:
            self.refusals[error.reason] += 1
            self.last_refusal = f"frame {embedding.sequence}: {error}"
        self._answer(embedding, status=TailStatus.REFUSED, reason=str(error), queue_s=queue_s)

    def _answer(self, embedding: Embedding, **said: Any) -> None:
        """Send a ``TailAnswer`` with these fields."""
        about = embedding.stamp, embedding.sequence, embedding.epoch
        try:
            self._send(TailAnswer(*about, session=embedding.session, **said))
        except Exception:
            _log.exception("the answer for frame %d could not be sent", embedding.sequence)
            with self._changed:
                self.counts["errors"] += 1

    def _send(self, answer: TailAnswer) -> None:
        self._send_answer(replace(answer, served_by=self._node, tail_session=self._session))

    # The compute thread

    def _compute(self) -> None:
        # Nothing is kept in a variable here: it would hold on to an embedding until the next one
        # comes.
        while self._compute_next():
            pass

    def _compute_next(self) -> bool:
        """Wait for embeddings and answer them; False when the tail is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if not self._waiting:
                return False
        with self._turns.turn(self._node, lambda: bool(self._waiting)):
            batch = self._take()
            started_s = time.perf_counter()
            stretched(lambda: run(batch, self.counts), self.settings.slowdown, self._closing)
            ended_s = time.perf_counter()
        try:
            self._answer_all(batch, started_s, ended_s)
        finally:
            for each in batch:
                each.leased.release()
        return True

    def _take(self) -> list[Waiting]:
        """Take the oldest embedding and those behind it that one run can do, and no others.

        Nothing waits for a batch to fill.
        """
        with self._changed:
            batch = [self._waiting.popleft()]
            while self._waiting and self._fits(batch):
                batch.append(self._waiting.popleft())
            return batch

    def _fits(self, batch: list[Waiting]) -> bool:
        stage = batch[0].leased.stage
        return len(batch) < stage.max_batch and self._waiting[0].leased.stage is stage

    def _answer_all(self, batch: list[Waiting], started_s: float, ended_s: float) -> None:
        """Answer each frame of a batch that was run, in the order in which they came."""
        sound = [each for each in batch if each.tensors is not None]
        in_engine_s = ended_s - started_s - sum(each.decode_s for each in batch)
        for each in batch:
            tail_s = in_engine_s / len(sound) if sound else 0.0
            # What remains is work on other frames: of the same batch as well as of those before.
            queue_s = ended_s - each.received_s - each.decode_s - tail_s
            self._answer_one(each, max(0.0, queue_s), tail_s)

    def _answer_one(self, waiting: Waiting, queue_s: float, tail_s: float) -> None:
        embedding, outcome = waiting.embedding, waiting.outcome
        if isinstance(outcome, Answer):
            self.counts["answers"] += 1
            with self._changed:
                self._plans.drop_drained(embedding, time.perf_counter())
            self._answer(
                embedding,
                **vars(outcome),
                queue_s=queue_s,
                decode_s=waiting.decode_s,
                tail_s=tail_s,
            )
        elif isinstance(outcome, WireError):
            self._refuse(embedding, outcome, queue_s)
        elif isinstance(outcome, CodesignError):
            self._refuse(embedding, WireError("output", str(outcome)), queue_s)
        else:
            assert outcome is not None
            _log.error("the tail failed on frame %d", embedding.sequence, exc_info=outcome)
            self._refuse(embedding, WireError("internal", unexpected(outcome)), queue_s)
