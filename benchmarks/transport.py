"""How long a message needs over a link: raw DDS by rclpy, without a network to run.

    ip netns exec SERVER scripts/in_ros python benchmarks/transport.py echo
    ip netns exec ROBOT scripts/in_ros python benchmarks/transport.py send --bytes 1000000

``send`` publishes embeddings of random bytes, reliable as the nodes do, one after the answer to the
one before (or ``--rate-hz``), and prints how long the answer took, which has no payload.
"""

from __future__ import annotations

import argparse
import os
import statistics
import threading
import time
from array import array

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor

from codesign_ros.msg import Embedding, TailAnswer, Tensor
from codesign_ros.nodes.interface import qos, transport
from codesign_ros.nodes.wiring import WiredNode
from codesign_ros.resources import resource_path

# Discovery, and the end of a message that got lost [s].
_PATIENCE_S = 20.0


def spin(node: WiredNode) -> None:
    """Run a node's callbacks until ROS ends."""
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        executor.spin()
    except ExternalShutdownException:
        return


def echo(args: argparse.Namespace) -> None:
    """Answer every embedding, without its payload."""
    node = WiredNode("echo", namespace="/transport")
    answers = node.advertise(TailAnswer, "answer", qos.result())
    node.listen(
        Embedding,
        "embedding",
        lambda msg: answers.publish(TailAnswer(sequence=msg.sequence)),
        qos.embedding(),
    )
    spin(node)


def send(args: argparse.Namespace) -> None:
    """Send, wait, print."""
    node = WiredNode("send", namespace="/transport")
    embeddings = node.advertise(Embedding, "embedding", qos.embedding())
    arrived: dict[int, float] = {}
    came = threading.Condition()

    def on_answer(msg: TailAnswer) -> None:
        with came:
            arrived[msg.sequence] = time.perf_counter()
            came.notify_all()

    node.listen(TailAnswer, "answer", on_answer, qos.result())
    threading.Thread(target=spin, args=(node,), daemon=True).start()
    give_up_s = time.monotonic() + _PATIENCE_S
    while not (embeddings.get_subscription_count() and node.count_publishers("/transport/answer")):
        if time.monotonic() > give_up_s:
            raise SystemExit("error: nobody answers; start `transport.py echo` on the other side")
        time.sleep(0.05)
    time.sleep(1.0)
    sent: dict[int, float] = {}
    blocked_s = []
    start = time.perf_counter()
    for number in range(1, args.count + 1):
        message = Embedding(
            sequence=number, tensors=[Tensor(data=array("B", os.urandom(args.bytes)))]
        )
        sent[number] = time.perf_counter()
        embeddings.publish(message)
        blocked_s.append(time.perf_counter() - sent[number])
        if args.rate_hz:
            time.sleep(max(0.0, start + number / args.rate_hz - time.perf_counter()))
        else:
            with came:
                came.wait_for(lambda number=number: number in arrived, _PATIENCE_S)
    with came:
        came.wait_for(lambda: len(arrived) == args.count, 2.0)
    times = [1e3 * (arrived[n] - sent[n]) for n in sorted(arrived)]
    line_ms = 8e3 * args.bytes / args.line_bps
    print(
        f"{args.bytes} bytes: {len(times)} of {args.count} answered, median "
        f"{statistics.median(times or [0]):.1f} ms, worst {max(times or [0]):.1f}; the line's "
        f"{line_ms:.1f} ms; publish blocks {1e3 * statistics.median(blocked_s):.1f} ms",
        flush=True,
    )


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("side", choices=("echo", "send"))
    parser.add_argument("--bytes", type=int, default=1_000_000)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--rate-hz", type=float, default=0.0)
    parser.add_argument("--line-bps", type=float, default=100e6)
    parser.add_argument(
        "--package-settings", action="store_true", help="as the nodes use Fast DDS, on both sides"
    )
    args = parser.parse_args()
    if args.package_settings:
        transport.prepare(os.environ, resource_path("config") / "fastdds.xml")
    rclpy.init()
    {"echo": echo, "send": send}[args.side](args)
    os._exit(0)


if __name__ == "__main__":
    main()
