"""The way up: sends embeddings in order, at the emulated rate if one is set, and times the link."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from queue import Queue

import numpy as np

from codesign_ros.runtime.emulation import transmission_s
from codesign_ros.runtime.head.link_estimate import BusyLink, LinkEstimator
from codesign_ros.runtime.messages import Embedding, EmbeddingKind, Stamp
from codesign_ros.wire.codecs import encode

_log = logging.getLogger(__name__)

# A probe this small shows the delay; one this large, with the delay known, shows the rate. 16 kB
# twice a second are 0.26 Mbit/s, and only where no frame crosses.
_SMALL_PROBE_BYTES = 64
_LARGE_PROBE_BYTES = 16_384
# Embeddings that were never answered are forgotten after so many newer ones.
_REMEMBERED = 64


@dataclass(frozen=True)
class LinkTime:
    """What an embedding took from the start of sending to the answer, less the tail's time [s].

    Attributes:
        total_s: all of it, both ways.
        waited_s: the part that it waited for embeddings before it.
    """

    total_s: float = 0.0
    waited_s: float = 0.0


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
        self._sent: OrderedDict[tuple[EmbeddingKind, int], tuple[float, int]] = OrderedDict()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._estimator = LinkEstimator()
        self._busy = BusyLink()
        self._probes = 0
        self._frames_since_probe = 0
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

    def probe(self, template: Embedding) -> None:
        """Queue a small probe, and a large one too if no frame has crossed since the last probe.

        Args:
            template: gives epoch and model of the probe.
        """
        sizes = [_SMALL_PROBE_BYTES]
        with self._lock:
            if self._frames_since_probe == 0:
                sizes.append(_LARGE_PROBE_BYTES)
            self._frames_since_probe = 0
        for size in sizes:
            self._probes += 1
            self.submit(
                Embedding(
                    stamp=Stamp(0),
                    sequence=self._probes,
                    epoch=template.epoch,
                    oldest_epoch=template.oldest_epoch,
                    model_id=template.model_id,
                    cut=template.cut,
                    tensors=(encode("probe", np.zeros(size, np.uint8), "raw"),),
                    kind=EmbeddingKind.PROBE,
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
        now = time.monotonic()
        with self._lock:
            sent = self._sent.pop((kind, sequence), None)
            if sent is None:
                return LinkTime()
            started_s, payload_bytes = sent
            # The tail may say anything, not a number included; then it spent no time.
            link_s = now - started_s - min(max(0.0, remote_s), now - started_s)
            if payload_bytes < LinkEstimator.LARGE_BYTES:
                self._estimator.add(payload_bytes, link_s)
                return LinkTime(link_s)
            transfer, waited_s = self._busy.add(
                payload_bytes, started_s, started_s + link_s, self._estimator.least_delay_s
            )
            if transfer is not None:
                self._estimator.add(*transfer)
        return LinkTime(link_s, waited_s)

    @property
    def bandwidth_bps(self) -> float:
        """Measured rate [bit/s]; 0 = not measured yet."""
        with self._lock:
            return self._estimator.bandwidth_bps

    @property
    def delay_s(self) -> float:
        """Measured time that does not depend on the payload, both ways [s]; 0 = not measured."""
        with self._lock:
            return self._estimator.delay_s

    def close(self) -> None:
        """Stop sending; what is still queued stays here."""
        self._stopping.set()
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
        if not may_send():
            return True
        # Noted before it is sent: the answer may come before `send` returns.
        with self._lock:
            key = (embedding.kind, embedding.sequence)
            self._sent[key] = (time.monotonic(), embedding.payload_bytes)
            while len(self._sent) > _REMEMBERED:
                self._sent.popitem(last=False)
            if embedding.kind is EmbeddingKind.FRAME:
                self._frames_since_probe += 1
        if self._stopping.wait(transmission_s(embedding.payload_bytes, self.emulated_bps)):
            return False
        try:
            self._send(embedding)
        except Exception:
            _log.exception("embedding %d could not be sent", embedding.sequence)
            self._send_failed(embedding)
        return True
