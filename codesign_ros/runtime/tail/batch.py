"""Embeddings that wait for a tail, and those that go through its engine together."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from codesign_ros.runtime.answers import Answer
from codesign_ros.runtime.messages import Embedding
from codesign_ros.runtime.stages.leased import LeasedStage
from codesign_ros.runtime.stages.tail import TailStage

_log = logging.getLogger(__name__)


@dataclass
class Waiting:
    """An embedding that was accepted, and what becomes of it.

    Attributes:
        embedding: it.
        leased: what runs it; its own lease, so that the engine is there when its turn comes.
        received_s: when it came, by ``time.perf_counter`` [s].
        tensors: decoded; None before that, and where it cannot be decoded.
        decode_s: time that decoding took [s].
        outcome: the answer, or why there is none.
    """

    embedding: Embedding
    leased: LeasedStage[TailStage]
    received_s: float
    tensors: dict[str, np.ndarray] | None = None
    decode_s: float = 0.0
    outcome: Answer | Exception | None = None

    def decode(self) -> None:
        """Set ``tensors``, or why not."""
        started_s = time.perf_counter()
        try:
            sender = self.embedding.session, self.embedding.sequence
            self.tensors = self.leased.stage.decode(self.embedding.tensors, sender)
        except Exception as error:
            self.outcome = error
        self.decode_s = time.perf_counter() - started_s


def run(batch: Sequence[Waiting], counts: Counter[str]) -> None:
    """Find the outcome of each, whatever becomes of the others; nothing is raised.

    Args:
        batch: at least one; all of the same stage, and no more than it takes at once.
        counts: ``batches`` goes up when several were run at once, ``batches_failed`` when that
            failed and each was run alone.
    """
    for each in batch:
        each.decode()
    stage = batch[0].leased.stage
    sound = [(each, each.tensors) for each in batch if each.tensors is not None]
    if len(sound) > 1:
        try:
            outcomes = stage.run_batch([tensors for _, tensors in sound])
            for (each, _), outcome in zip(sound, outcomes, strict=True):
                each.outcome = outcome
            counts["batches"] += 1
            return
        except Exception:
            # Whichever it was, it shall not take the others down.
            _log.exception("%d frames could not be run at once, each is tried alone", len(sound))
            counts["batches_failed"] += 1
    for each, tensors in sound:
        try:
            each.outcome = stage.run(tensors)
        except Exception as error:
            each.outcome = error
