"""The way up: sends embeddings in order, at the emulated rate if one is set, and times the link."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from queue import Queue

import numpy as np

from codesign_ros.runtime.emulation import transmission_s
from codesign_ros.runtime.link.meter import LinkMeter, LinkTime
from codesign_ros.runtime.link.probing import TINY_BYTES
from codesign_ros.runtime.link.transfers import Transfer
from codesign_ros.runtime.messages import Embedding, EmbeddingKind, Stamp
from codesign_ros.wire.codecs import encode

_log = logging.getLogger(__name__)

# An embedding follows when the one before it has so much of its way over the link left: the link
# is not idle in between, nor has its queue to hold more than one.
_EARLY = 0.25
# As long as the rate is not known, a frame has so long for its answer before the next one follows
# [s]: several at once on a thin link are replaced in the middleware's queue, and never answered.
_UNKNOWN_CROSSING_S = 1.0
# Frames on the link that are remembered at most.
_CROSSINGS = 64
# A frame that took so many times longer than the rate says, and so much longer than a busy core is
# late [s], met a link that has become thin. The next have as long until another is on time: the
# rate follows only after some that nothing else was in the way of.
_SLOW, _SLOW_S = 2.0, 0.05


class Uplink:
    """Sends embeddings one after the other and measures what the link makes of them.

    All times are from the robot's own clock: sending starts, the answer arrives, and what the tail
    says it spent in between is subtracted. No clock of another machine is read.

    Args:
        send: hands one embedding to the middleware; called on the uplink's thread. What it raises
            is logged and stops nothing else.
        send_failed: told of the embedding for which ``send`` raised.
        emulated_bps: rate at which embeddings leave [bit/s]; 0 = as fast as the middleware goes.
    """

    def __init__(
        self,
        send: Callable[[Embedding], None],
        send_failed: Callable[[Embedding], None],
        emulated_bps: float = 0.0,
    ) -> None:
        self.emulated_bps = emulated_bps
        self._send = send
        self._send_failed = send_failed
        self._queue: Queue[tuple[Embedding, Callable[[], bool]] | None] = Queue()
        self._lock = threading.Lock()
        # Told where the link may be free sooner than was expected, or nothing is sent any more.
        self._sooner = threading.Condition(self._lock)
        self._stopping = threading.Event()
        self._meter = LinkMeter()
        self._probes = 0
        # When what was sent will be across by the measured rate, and when the next may follow.
        self._across_s = self._free_s = 0.0
        # What the newest frame took that was much slower than the rate says [s]; 0 = it was not.
        self._slow_s = 0.0
        # Frames on the link, oldest first: number, expected time on the link, the same by the
        # measured rate alone [s].
        self._crossings: deque[tuple[int, float, float]] = deque(maxlen=_CROSSINGS)
        self._thread = threading.Thread(target=self._run, name="uplink", daemon=True)
        self._thread.start()

    def submit(self, embedding: Embedding, may_send: Callable[[], bool]) -> None:
        """Queue an embedding.

        Args:
            embedding: what to send.
            may_send: asked when the link is free for it; False = it is not wanted any more and
                stays here.
        """
        self._queue.put((embedding, may_send))

    def probe(self, template: Embedding, *, is_urgent: bool = False) -> bool:
        """Queue the probes that the link's estimate needs now; see ``Prober``.

        There are none while a frame is on the link: they would show little behind it, and several
        of them at once replace it in the middleware's queue.

        Args:
            template: gives session, epoch, model and tail of the probe.
            is_urgent: whether the server is there at all is the question: a tiny one is sent,
                whatever else is on the link, and counts as overdue what should be across.

        Returns:
            Whether there are any.
        """
        now_s = time.monotonic()
        with self._lock:
            if is_urgent:
                self._crossings.clear()
                self._across_s = self._free_s = 0.0
                self._sooner.notify()
            if now_s < self._free_s:
                return False
            if is_urgent and not self._meter.learning:
                sizes = [TINY_BYTES]
            else:
                sizes = self._meter.probes(now_s)
            numbers = [self._number_probe(size, now_s) for size in sizes]
        for number, size in zip(numbers, sizes, strict=True):
            self._submit_probe(template, number, size)
        return bool(sizes)

    def try_out(self, template: Embedding, payload_bytes: int) -> int:
        """Queue one probe of a given size; returns its number.

        Args:
            template: gives session, epoch, model and tail of the probe.
            payload_bytes: its size [bytes].
        """
        with self._lock:
            number = self._number_probe(payload_bytes, time.monotonic())
        self._submit_probe(template, number, payload_bytes)
        return number

    def _number_probe(self, payload_bytes: int, now_s: float) -> int:
        self._probes += 1
        self._meter.probe_sent((EmbeddingKind.PROBE, self._probes), payload_bytes, now_s)
        return self._probes

    def _submit_probe(self, template: Embedding, number: int, payload_bytes: int) -> None:
        self.submit(
            Embedding(
                stamp=Stamp(0),
                sequence=number,
                epoch=template.epoch,
                oldest_epoch=template.oldest_epoch,
                model_id=template.model_id,
                cut=template.cut,
                tensors=(encode("probe", np.zeros(payload_bytes, np.uint8), "raw"),),
                kind=EmbeddingKind.PROBE,
                session=template.session,
                tail=template.tail,
            ),
            lambda: True,
        )

    def answered(self, kind: EmbeddingKind, sequence: int, remote_s: float) -> LinkTime:
        """Note that an answer arrived.

        Args:
            kind: what was sent.
            sequence: its number.
            remote_s: what the tail says it spent on it [s].

        Returns:
            Time on the link; 0 if it is not known when it was sent.
        """
        with self._lock:
            by_rate_s = self._note_across(sequence) if kind is EmbeddingKind.FRAME else None
            link = self._meter.answered((kind, sequence), time.monotonic(), remote_s)
            if by_rate_s is not None:
                took_s = link.total_s - link.waited_s
                self._slow_s = took_s if took_s > _SLOW * by_rate_s + _SLOW_S else 0.0
            return link

    @property
    def bandwidth_bps(self) -> float:
        """Rate of payload over the long run [bit/s]; 0 = not known yet."""
        with self._lock:
            return self._meter.bandwidth_bps

    @property
    def bandwidth_error_bps(self) -> float:
        """Standard error of that rate [bit/s]; 0 = not known."""
        with self._lock:
            return self._meter.error_bps

    @property
    def burst_bytes(self) -> float:
        """What the link lets through at once after a pause, at most [bytes]; 0 = not known yet."""
        with self._lock:
            return self._meter.burst_bytes

    @property
    def sure_burst_bytes(self) -> float:
        """What it lets through at once, at least [bytes]; 0 = not known yet."""
        with self._lock:
            return self._meter.sure_burst_bytes

    @property
    def delay_s(self) -> float:
        """What a tiny transfer usually takes on a free link, both ways [s]; 0 = not measured."""
        with self._lock:
            return self._meter.delay_s

    @property
    def learning(self) -> bool:
        """The rate is not known, no large probe is out, and the next should not wait."""
        with self._lock:
            return self._meter.learning

    @property
    def doubts(self) -> bool:
        """The rate is being learned anew."""
        with self._lock:
            return self._meter.doubts

    def doubt(self) -> None:
        """Have the probes learn the rate anew."""
        with self._lock:
            self._meter.doubt()

    def believe(self) -> None:
        """Have them go on as if the rate were known, whether it is or not."""
        with self._lock:
            self._meter.believe()

    @property
    def samples(self) -> tuple[Transfer, ...]:
        """The newest transfers, in the order in which they were sent."""
        with self._lock:
            return tuple(self._meter.samples)

    def _note_crossing(self, sequence: int, by_rate_s: float) -> None:
        """Note that a frame is on the link from now on, or from when those before it are across."""
        with self._lock:
            crossing_s = max(by_rate_s, self._slow_s)
            self._crossings.append((sequence, crossing_s, by_rate_s))
            self._across_s = max(self._across_s, time.monotonic()) + crossing_s
            self._free_s = self._across_s - _EARLY * crossing_s

    def _note_across(self, sequence: int) -> float | None:
        """Note that a frame and those before it are across, whatever the rate says.

        Returns:
            Its time on the link by the rate [s]; None = it is not known to be there.
        """
        numbers = [number for number, _, _ in self._crossings]
        if sequence not in numbers:
            return None
        for _ in range(numbers.index(sequence) + 1):
            _, _, by_rate_s = self._crossings.popleft()
        left_s = sum(crossing_s for _, crossing_s, _ in self._crossings)
        last_s = self._crossings[-1][1] if self._crossings else 0.0
        self._across_s = min(self._across_s, time.monotonic() + left_s)
        self._free_s = self._across_s - _EARLY * last_s
        self._sooner.notify()
        return by_rate_s

    def close(self) -> None:
        """Stop sending; what is still queued stays here."""
        with self._lock:
            self._stopping.set()
            self._sooner.notify()
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        # Nothing is kept in a variable here: it would hold on to an embedding until the next.
        while self._send_next():
            pass

    def _send_next(self) -> bool:
        """Wait for an embedding and send it; False when the uplink is closed."""
        item = self._queue.get()
        if item is None or self._stopping.is_set():
            return False
        embedding, may_send = item
        # Until the link has room it waits here and not in the link's queue: what does not fit there
        # is lost and sent again much later, and nobody could take it back.
        with self._lock:
            while (left_s := self._free_s - time.monotonic()) > 0:
                if self._stopping.is_set():
                    return False
                self._sooner.wait(left_s)
        if not may_send():
            return True
        # Noted before it is sent: the answer may come before `send` returns.
        with self._lock:
            key = (embedding.kind, embedding.sequence)
            is_frame = embedding.kind is EmbeddingKind.FRAME
            self._meter.sent(key, embedding.payload_bytes, time.monotonic(), is_frame)
            rate_bps = self._meter.bandwidth_bps
        if self._stopping.wait(transmission_s(embedding.payload_bytes, self.emulated_bps)):
            return False
        if is_frame and not self.emulated_bps:
            on_link_s = 8 * embedding.payload_bytes / rate_bps if rate_bps else _UNKNOWN_CROSSING_S
            self._note_crossing(embedding.sequence, on_link_s)
        try:
            self._send(embedding)
        except Exception:
            _log.exception("embedding %d could not be sent", embedding.sequence)
            if is_frame:
                with self._lock:
                    self._note_across(embedding.sequence)
            self._send_failed(embedding)
        return True
