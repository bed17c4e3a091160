"""The tail: embeddings in, answers out to the head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus

from codesign_ros.msg import Embedding, TailAnswer
from codesign_ros.nodes.device_node import DeviceNode
from codesign_ros.nodes.interface import qos
from codesign_ros.nodes.interface.messages import embedding_from_msg, tail_answer_to_msg
from codesign_ros.nodes.interface.params import Param
from codesign_ros.nodes.process import run
from codesign_ros.runtime.device import Role
from codesign_ros.runtime.engines.share import EngineShare
from codesign_ros.runtime.tail.runtime import TailRuntime, TailSettings
from codesign_ros.types.errors import CodesignError

PARAMS = (
    Param(
        "queue_depth", 8, "embeddings that may wait; one more is refused as busy", low=1, high=1000
    ),
    Param(
        "server",
        "",
        "name of this edge server, where its robot has several; the tail lies then in a namespace "
        "of that name in the robot's, e.g. /miner1/edge1. Empty = in the robot's own",
        fixed=True,
    ),
)


class TailNode(DeviceNode):
    """Runs the second part of the network on the server; see ``TailRuntime``.

    Args:
        engines: of the process, where several nodes share them.
        arguments: see ``CodesignNode``.
    """

    role = Role.TAIL
    is_relied_on = True
    part = "tail"
    runtime: TailRuntime | None

    def __init__(
        self, engines: EngineShare | None = None, *, arguments: Sequence[str] = ()
    ) -> None:
        super().__init__("tail", PARAMS, engines, arguments=arguments)
        self._malformed = 0
        server = self.params["server"]
        self._robot = self.get_namespace().removesuffix(f"/{server}")
        if server and self._robot in ("", self.get_namespace()):
            raise CodesignError(
                f"parameter server is {server!r}, but this tail lies in {self.get_namespace()}: "
                f"put it into ROBOT/{server} (-r __ns:=/miner1/{server}), or leave server empty"
            )
        topic = f"{self._robot.rstrip('/')}/result/remote"
        self._answers = self.advertise(
            TailAnswer, topic if server else "result/remote", qos.result()
        )
        self.listen(Embedding, "embedding", self._on_embedding, qos.embedding())

    @property
    def robot(self) -> str:
        """Namespace of the robot that it serves."""
        return self._robot

    def activate(self) -> None:
        """Start to take plans and embeddings."""
        assert self.bundle is not None
        assert self.share is not None
        settings = TailSettings(
            queue_depth=self.params["queue_depth"],
            slowdown=self.params["emulation.slowdown"],
            selection=self.selection({}),
        )
        self.runtime = TailRuntime(
            self.bundle,
            self.share.pool,
            settings,
            node=self.get_fully_qualified_name(),
            session=self.seat.session,
            send_answer=lambda a: self._answers.publish(tail_answer_to_msg(a)),
            turns=self.share.turns,
        )

    def deactivate(self) -> None:
        """Say goodbye, answer what was accepted, then stop."""
        runtime = self.runtime
        if runtime is None:
            return
        # The planner solves without it, and the head goes its own way, while it still answers.
        self.state_label = "inactive"
        self.announce()
        runtime.leave()
        self.runtime = None
        runtime.close()

    def diagnostics(self) -> tuple[bytes, str, Mapping[str, Any]]:
        """Embeddings by what became of them; refusals by reason make it a warning."""
        runtime, share = self.runtime, self.share
        if runtime is None or share is None:
            return super().diagnostics()
        refused = dict(runtime.refusals)
        if self._malformed:
            refused["kind"] = self._malformed
        values = {
            "epoch": runtime.plan.epoch,
            "epochs": " ".join(map(str, runtime.epochs)),
            **dict(runtime.counts),
            "refused": sum(refused.values()),
            **{f"refused.{reason}": count for reason, count in refused.items()},
            "last_refusal": runtime.last_refusal,
            "engines": len(share.pool),
            "engines_shared_by": share.users,
        }
        if refused:
            message = f"{self.state_label}; refused {sum(refused.values())} embeddings"
            return DiagnosticStatus.WARN, message, values
        return DiagnosticStatus.OK, self.state_label, values

    def _on_embedding(self, msg: Embedding) -> None:
        runtime = self.runtime
        if runtime is None or not self.seat.serves:
            return
        try:
            runtime.on_embedding(embedding_from_msg(msg))
        except CodesignError:
            self._malformed += 1
            raise


def main() -> int:
    """Run the tail as a process."""
    return run(TailNode)
