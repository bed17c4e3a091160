"""Records what heads, tails, planners and cameras' ground truth say, as `ros2 bag record` does."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rclpy.qos import QoSProfile
from rosbags.rosbag2 import StoragePlugin, WriterError

from codesign_ros.data.storage.decoding import own_types
from codesign_ros.data.storage.writing import NewBag
from codesign_ros.msg import (
    DeviceProfile,
    Embedding,
    GroundTruth,
    Heartbeat,
    InferenceResult,
    Plan,
    TailAnswer,
)
from codesign_ros.nodes.interface import qos
from codesign_ros.nodes.wiring import WiredNode
from codesign_ros.types.errors import CodesignError, one_line

_RECORDED = (
    DeviceProfile, Embedding, GroundTruth, Heartbeat, InferenceResult, Plan, TailAnswer,
)  # fmt: skip
_KINDS = {f"codesign_ros/msg/{kind.__name__}": kind for kind in _RECORDED}
# How often it is looked for new topics [s].
_LOOK_S = 0.2
# Messages that wait to be written: small ones of a fleet, and embeddings of up to a megabyte.
_DEPTH, _DEPTH_OF_EMBEDDINGS = 1000, 64


class Recorder:
    """Writes every message of this package's types to a bag, as bytes, whatever they hold.

    Pictures are not recorded: they are in the bag that is played.

    Args:
        node: subscribes; whoever closes it closes the recorder after it.
        path: the bag's folder; one that is there must be empty.

    Raises:
        CodesignError: it cannot be made.
    """

    def __init__(self, node: WiredNode, path: Path) -> None:
        self.counts: Counter[str] = Counter()
        # Messages that DDS lost on their way here, by topic; not every middleware tells.
        self.missed: Counter[str] = Counter()
        self._node, self._path = node, path
        self._writer = NewBag(path, StoragePlugin.MCAP)
        self._open = False
        # Callbacks come one after another; ``close`` comes from elsewhere.
        self._lock = threading.Lock()
        try:
            self._writer.open()
        except (OSError, WriterError) as error:
            raise CodesignError(f"cannot write bag {path}: {one_line(error)}") from None
        self._open = True
        node.every(_LOOK_S, self._look)
        node.chores.start()

    def close(self) -> None:
        """Finish the bag; one without a message is taken away.

        Raises:
            CodesignError: its end cannot be written.
        """
        with self._lock:
            self._open = False
            try:
                self._writer.close()
            except OSError as error:
                raise CodesignError(f"cannot write bag {self._path}: {error.strerror}") from None
        if not self.counts.total():
            self._writer.discard()

    def _look(self) -> None:
        """Record topics that are new and have somebody who sends."""
        for topic, types in self._node.get_topic_names_and_types():
            for name in set(types) & _KINDS.keys():
                senders = self._node.get_publishers_info_by_topic(topic)
                if topic not in self.counts and senders:
                    self.counts[topic] = 0
                    self._record(topic, name, [sender.qos_profile for sender in senders])

    def _record(self, topic: str, name: str, offered: Sequence[QoSProfile]) -> None:
        with self._lock:
            if not self._open:
                return
            connection = self._writer.add_connection(topic, name, typestore=own_types())
        kind = _KINDS[name]
        self._node.listen(
            kind,
            topic,
            lambda _: None,
            _heard_of_all(offered, _DEPTH_OF_EMBEDDINGS if kind is Embedding else _DEPTH),
            on_missed=partial(self._note_missed, topic) if kind is Embedding else None,
            admits=partial(self._write, topic, connection),
        )

    def _write(self, topic: str, connection: Any, data: bytes) -> bool:
        """Write a message; never admits it: it is not to be read."""
        with self._lock:
            if not self._open:
                return False
            try:
                self._writer.write(connection, time.time_ns(), data)
            except OSError as error:
                self._open = False
                self._node.fail(f"cannot write bag {self._path}: {error.strerror}")
                return False
            self.counts[topic] += 1
        return False

    def _note_missed(self, topic: str, count: int) -> None:
        self.missed[topic] += count


def _heard_of_all(offered: Sequence[QoSProfile], depth: int) -> QoSProfile:
    """What hears all who send, and what they said before where they keep that."""
    reliable = all(each.reliability == qos.RELIABLE for each in offered)
    profile = QoSProfile(depth=depth, reliability=qos.RELIABLE if reliable else qos.BEST_EFFORT)
    if all(each.durability == qos.TRANSIENT_LOCAL for each in offered):
        profile.durability = qos.TRANSIENT_LOCAL
    return profile
