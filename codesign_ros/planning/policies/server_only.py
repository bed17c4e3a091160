"""Server-only: the frame is sent, raw or as JPEG, and the folded network runs on the server.

With several servers the one of least latency serves. Sending a JPEG is the baseline that
split computing has to beat (Matsubara et al., "SC2 Benchmark", 2023).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from codesign_ros.planning.policies.base import Decision, Situation, latency_s, least
from codesign_ros.planning.policies.fair import kindest
from codesign_ros.planning.problem import Row
from codesign_ros.types.codec_names import JPEG444_CODECS


@dataclass(frozen=True)
class ServerOnly:
    """The baseline that leaves the robot nothing but to send.

    Attributes:
        sent: how the frame is sent: ``raw``, ``jpeg``, or ``jpeg444``, the best of its qualities.
    """

    sent: str

    @property
    def name(self) -> str:
        """What it is called on the command line."""
        return f"server_only_{self.sent}"

    def decide(self, situation: Situation) -> Decision:
        """Send the frame.

        Raises:
            CodesignError: there is no server, or the cost of sending so is not known.
        """
        situation.need_server()
        unknown = f"the cost of sending the frame as {self.sent} is not known"
        codecs = JPEG444_CODECS if self.sent == "jpeg444" else (self.sent,)

        def rule(rows: Sequence[Row]) -> Decision:
            sending = (
                row for row in rows if row.candidate.cut == 0 and row.candidate.codec in codecs
            )
            return Decision(least(sending, latency_s, unknown))

        return kindest(situation, rule)
