"""The way up: sends embeddings in order, at the emulated rate if one is set, and times the link."""

from __future__ import annotations

import statistics
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from queue import Queue

import numpy as np

from codesign_ros.cost.link import LinkEstimator
from codesign_ros.runtime.emulation import transmission_s
from codesign_ros.runtime.values import Embedding, EmbeddingKind, Stamp
from codesign_ros.wire.codecs import encode

# A probe this small shows the delay; one this large, with the delay known, shows the rate. 16 kB
# every second are 0.13 Mbit/s.
_SMALL_PROBE_BYTES = 64
_LARGE_PROBE_BYTES = 16_384
# A rate is taken only from payloads that clearly take longer than the delay varies.
_MIN_RATE_BYTES = 2048
# Transfers that count for the rate, and small probes for the delay: few, so that a change of the
# link shows within seconds even when only probes cross.
_RATE_WINDOW = 8
_DELAY_WINDOW = 5
# Embeddings that were never answered are forgotten after so many newer ones.
_REMEMBERED = 64


class Uplink:
    """Sends embeddings one after the other and measures what the link makes of them.

    All times are from the robot's own clock: sending starts, the answer arrives, and what the tail
    says it spent in between is subtracted. No clock of another machine is read.

    Args:
        send: hands one embedding to the middleware; called on the uplink's thread.
        emulated_bps: rate at which embeddings leave [bit/s]; 0 = as fast as the middleware goes.
    """

    def __init__(self, send: Callable[[Embedding], None], emulated_bps: float = 0.0) -> None:
        self.emulated_bps = emulated_bps
        self._send = send
        self._queue: Queue[tuple[Embedding, Callable[[], bool]] | None] = Queue()
        self._sent: OrderedDict[tuple[EmbeddingKind, int], tuple[float, int]] = OrderedDict()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._rate = LinkEstimator(_RATE_WINDOW)
        self._delays_s: deque[float] = deque(maxlen=_DELAY_WINDOW)
        self._probes = 0
        self._frames_since_probe = 0
        self._thread = threading.Thread(target=self._run, name="uplink", daemon=True)
        self._thread.start()

    def submit(self, embedding: Embedding, about_to_send: Callable[[], bool]) -> None:
        """Queue an embedding.

        Args:
            embedding: what to send.
            about_to_send: called when it is about to leave the emulated link; False = it is not
                wanted any more and stays here.
        """
        self._queue.put((embedding, about_to_send))

    def probe(self, template: Embedding) -> None:
        """Queue a small probe, and a large one too if no frame has crossed since the last probe.

        Args:
            template: gives epoch and model of the probe.
        """
        sizes = [_SMALL_PROBE_BYTES]
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

    def answered(self, kind: EmbeddingKind, sequence: int, remote_s: float) -> float:
        """Note that an answer arrived.

        Args:
            kind: what was sent.
            sequence: its number.
            remote_s: what the tail says it spent on it [s].

        Returns:
            Time on the link, both ways [s]; 0 if it is not known when it was sent.
        """
        now = time.monotonic()
        with self._lock:
            sent = self._sent.pop((kind, sequence), None)
            if sent is None:
                return 0.0
            started_s, payload_bytes = sent
            link_s = max(0.0, now - started_s - remote_s)
            if payload_bytes <= _SMALL_PROBE_BYTES:
                self._delays_s.append(link_s)
            elif payload_bytes >= _MIN_RATE_BYTES and self._delays_s:
                on_link_s = link_s - statistics.median(self._delays_s)
                # Faster than a microsecond is noise of the delay, not a rate.
                self._rate.add(payload_bytes, max(on_link_s, 1e-6))
        return link_s

    @property
    def bandwidth_bps(self) -> float:
        """Measured rate [bit/s]; 0 = not measured yet."""
        with self._lock:
            return self._rate.bandwidth_bps or 0.0

    @property
    def delay_s(self) -> float:
        """Measured time that does not depend on the payload, both ways [s]; 0 = not measured."""
        with self._lock:
            return statistics.median(self._delays_s) if self._delays_s else 0.0

    def close(self) -> None:
        """Stop sending; what is still queued stays here."""
        self._stopping.set()
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (item := self._queue.get()) is not None and not self._stopping.is_set():
            embedding, about_to_send = item
            started_s = time.monotonic()
            self._stopping.wait(transmission_s(embedding.payload_bytes, self.emulated_bps))
            # Noted before it is sent: the answer may come before `send` returns.
            with self._lock:
                key = (embedding.kind, embedding.sequence)
                self._sent[key] = (started_s, embedding.payload_bytes)
                while len(self._sent) > _REMEMBERED:
                    self._sent.popitem(last=False)
            if self._stopping.is_set() or not about_to_send():
                continue
            if embedding.kind is EmbeddingKind.FRAME:
                self._frames_since_probe += 1
            self._send(embedding)
