"""Mutated messages, as a broken or hostile peer sends them: each is taken, or refused in one line.

    make fuzz ARGS="--count 1000000"
    make fuzz ARGS="--count 1000000 --neck"

What this package's nodes hear from each other (embeddings in every codec, answers, profiles,
heartbeats, plans) is serialized, damaged, and read as nodes read it; an embedding's tensors are
decoded too. With --neck it is payloads of a neck's codes alone, half of which get a checksum that
is right after the damage, as only a hostile peer makes them. Anything but a refusal, a refusal of
more than a line, or memory above the bound ends it with the seed and the number of the message.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rclpy.serialization import serialize_message

from codesign_ros.bundle import Bundle
from codesign_ros.cost.half_times import HalfTimes
from codesign_ros.msg import DeviceProfile, Embedding, Heartbeat, Plan, TailAnswer
from codesign_ros.nodes.border.reading import check_request, read
from codesign_ros.nodes.interface import device_messages, messages
from codesign_ros.resources import default_bundle
from codesign_ros.runtime.device import Device, Role
from codesign_ros.runtime.messages import Embedding as EmbeddingValue
from codesign_ros.runtime.messages import Stamp
from codesign_ros.runtime.messages import TailAnswer as AnswerValue
from codesign_ros.types.boxes import Box
from codesign_ros.types.errors import CodesignError, one_line
from codesign_ros.types.forms import BRANCH_STRUCTURES, PRECISIONS, HalfForm
from codesign_ros.types.plan import Plan as PlanValue
from codesign_ros.wire.codecs import codecs_for, encode
from codesign_ros.wire.decode import WireLimits, decode
from codesign_ros.wire.neck.payload import (
    HEADER_BYTES,
    CodedFrame,
    decode_codes,
    encode_codes,
    sealed,
)
from codesign_ros.wire.neck.tables import CodeTables, frequencies_after, frequencies_of

# Counts and lengths that are wrong in some way.
_COUNTS = (0, 1, 2, 3, 255, 256, 65535, 65536, 2**20, 2**24, 2**31 - 1, 2**31, 2**32 - 1)
_FLOATS = (b"\0\0\xc0\x7f", b"\0\0\x80\x7f", b"\0\0\x80\xff", b"\xff\xff\x7f\x7f", b"\1\0\0\0")
# What a refusal may say.
_LONGEST = 2000

Reader = Callable[[bytes], None]


def embeddings(bundle: Bundle) -> list[tuple[str, bytes, Reader]]:
    """An embedding for each codec at three cuts, with what reads it."""
    rng = np.random.default_rng(0)
    made = []
    for cut in (0, bundle.last_cut // 2, bundle.last_cut - 1):
        specs = bundle.crossings[cut]
        for codec in codecs_for(specs[0]):
            arrays = [
                rng.integers(0, 256, spec.shape, dtype=np.uint8)
                if spec.dtype == "uint8"
                else rng.normal(size=spec.shape).astype(np.float32)
                for spec in specs
            ]
            tensors = tuple(
                encode(spec.name, each, codec) for spec, each in zip(specs, arrays, strict=True)
            )
            value = EmbeddingValue(Stamp(5, "camera"), 1, 2, 2, bundle.model_id, cut, tensors)
            data = serialize_message(messages.embedding_to_msg(value))

            def take(data: bytes, specs: Any = specs) -> None:
                embedding = messages.embedding_from_msg(read(Embedding, data))
                for spec, tensor in zip(specs, embedding.tensors, strict=False):
                    decode(tensor, spec, WireLimits())

            made.append((f"embedding cut {cut} {codec}", data, take))
    return made


def others(bundle: Bundle) -> list[tuple[str, bytes, Reader]]:
    """An answer, a profile, a heartbeat and a plan, with what reads each."""
    forms = [
        HalfForm(cut, structure, precision=precision)
        for cut in range(bundle.last_cut + 1)
        for structure in BRANCH_STRUCTURES
        for precision in PRECISIONS[:2]
    ]
    codec_s = {(cut, "raw"): 0.001 for cut in range(bundle.last_cut)}
    profile = HalfTimes(
        dict.fromkeys(forms, 0.01), frozenset(forms[::3]), codec_s, dict.fromkeys(codec_s, 900.0)
    )
    device = Device(
        "/robot/head", robot="/robot", role=Role.HEAD, state="active", model_id=bundle.model_id,
        backends=("onnxruntime",), precisions=PRECISIONS, profile=profile,
        engines=dict.fromkeys(forms[:9], True), link_bps=1e7,
    )  # fmt: skip
    answer = AnswerValue(
        Stamp(5, "camera"), 1, 2, served_by="/robot/tail", label="miner", score=0.5,
        class_names=("miner", "belt"), class_scores=(0.5, 0.5),
        detections=(Box("miner", 1.0, 2.0, 3.0, 4.0, 0.5),) * 3, tail_s=0.01,
    )  # fmt: skip
    plan = PlanValue(3, epoch=2, robot="/robot", model_id=bundle.model_id, reason="fuzz")
    stamp = messages.ns_to_time(7)

    def take_plan(data: bytes) -> None:
        msg = read(Plan, data)
        check_request(msg)
        messages.plan_from_msg(msg)

    return [
        (
            "answer",
            serialize_message(messages.tail_answer_to_msg(answer)),
            lambda data: _drop(messages.tail_answer_from_msg(read(TailAnswer, data))),
        ),
        (
            "profile",
            serialize_message(device_messages.device_to_msg(device, stamp)),
            lambda data: _drop(device_messages.device_from_msg(read(DeviceProfile, data))),
        ),
        (
            "heartbeat",
            serialize_message(device_messages.heartbeat_to_msg(device, stamp)),
            lambda data: _drop(device_messages.heartbeat_from_msg(read(Heartbeat, data))),
        ),
        ("plan", serialize_message(messages.plan_to_msg(plan)), take_plan),
    ]


def necks() -> list[tuple[str, bytes, Reader]]:
    """Payloads of a small neck and of one as large as the shipped ones, alone and after a frame."""
    made = []
    for shape in ((6, 5, 7), (32, 25, 40)):
        codes = np.arange(-31, 32)
        spread = np.geomspace(3.0, 0.2, shape[0])[:, np.newaxis]
        weights = np.stack([np.exp(-np.abs(codes) / (spread / level)) for level in (1, 4)])
        alone = frequencies_of(weights)
        drawn = np.random.default_rng(0).laplace(size=shape) * spread[..., np.newaxis]
        frames = [np.rint(drawn / step).clip(-31, 31).astype(np.int8) for step in (1, 4)]
        after = [
            frequencies_after(frame[np.newaxis], frame[np.newaxis].astype(int), table, -31)
            for frame, table in zip(frames, alone, strict=True)
        ]
        gains = np.ones((2, shape[0]), np.float32)
        tables = CodeTables(gains, alone, -31, shape, np.stack(after))
        before = CodedFrame(5, frames[0], 0)

        def take(data: bytes, tables: CodeTables = tables, before: CodedFrame = before) -> None:
            codes, level = decode_codes(data, tables, {before.sequence: before})
            assert codes.shape == tables.shape
            assert 0 <= level < tables.levels
            assert tables.low <= codes.min()
            assert codes.max() <= tables.high

        def take_sealed(data: bytes, tables: CodeTables = tables, take: Any = take) -> None:
            level = data[1] % tables.levels if len(data) > 1 else 0
            take(sealed(level, bytes(data[HEADER_BYTES:]), tables))

        def take_sealed_after(
            data: bytes, tables: CodeTables = tables, before: CodedFrame = before, take: Any = take
        ) -> None:
            level = data[1] % tables.levels if len(data) > 1 else 0
            take(sealed(level, bytes(data[HEADER_BYTES + 4 :]), tables, before))

        for level, frame in enumerate(frames):
            data = encode_codes(frame, tables, level)
            film = encode_codes(frame, tables, level, before)
            made += [
                (f"neck {shape} {level}", data, take),
                (f"sealed-neck {shape} {level}", data, take_sealed),
                (f"film {shape} {level}", film, take),
                (f"sealed-film {shape} {level}", film, take_sealed_after),
            ]
    return made


def _drop(value: Any) -> None:
    assert value is not None


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Damage a message in one to four ways."""
    damaged = bytearray(data)
    # Lengths and strings are at the front of large messages; half of all damage is done there.
    for _ in range(rng.randint(1, 4)):
        if not damaged:
            return bytes(damaged)
        size = len(damaged) if rng.random() < 0.5 else min(len(damaged), 400)
        at, kind = rng.randrange(size), rng.randrange(8)
        if kind == 0:
            damaged[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            count = rng.choice(_COUNTS)
            damaged[at - at % 4 : at - at % 4 + 4] = count.to_bytes(4, "little")
        elif kind == 2:
            damaged[at - at % 4 : at - at % 4 + 4] = rng.choice(_FLOATS)
        elif kind == 3:
            del damaged[at:]
        elif kind == 4:
            damaged[at:at] = rng.randbytes(rng.choice((1, 4, 64)))
        elif kind == 5:
            del damaged[at : at + rng.choice((1, 4, 64))]
        elif kind == 6:
            end = at + rng.choice((4, 16, 256))
            damaged[at:end] = rng.randbytes(end - at)
        else:
            other = rng.randrange(size)
            damaged[at : at + 32] = damaged[other : other + 32]
    return bytes(damaged)


def resident_bytes() -> int:
    """Most memory that this process has had so far [bytes]."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> int:
    """Run it and print what became of the messages."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=20_000, help="messages")
    parser.add_argument("--seed", type=int, default=1, help="another seed, other damage")
    parser.add_argument("--most-mb", type=float, default=64.0, help="memory they may take [MB]")
    parser.add_argument("--bundle", type=Path, default=default_bundle(), help="the network")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    parser.add_argument("--neck", action="store_true", help="payloads of a neck's codes alone")
    args = parser.parse_args()
    # Kinds alternate, so that each has its share.
    if args.neck:
        families = [[case] for case in necks()]
    else:
        bundle = Bundle.open(args.bundle)
        families = [embeddings(bundle), *([case] for case in others(bundle))]
    for family in families:
        for _, data, take in family:
            take(data)  # sound ones are taken
    rng = random.Random(args.seed)
    before_bytes, started_s = resident_bytes(), time.monotonic()
    taken: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    for number in range(args.count):
        name, data, take = rng.choice(families[number % len(families)])
        kind = name.partition(" ")[0]
        bad = mutated(data, rng)
        try:
            take(bad)
            taken[kind] += 1
        except CodesignError as error:
            refused[kind] += 1
            text = str(error)
            if len(text.splitlines()) != 1 or len(text) > _LONGEST:
                print(f"message {number} of seed {args.seed}: {one_line(text)}", file=sys.stderr)
                return 1
        except Exception:
            print(f"message {number} of seed {args.seed}, {name}:", file=sys.stderr)
            raise
    grown_mb = (resident_bytes() - before_bytes) / 1e6
    figures = {
        "messages": args.count,
        "seed": args.seed,
        "taken": dict(taken),
        "refused": dict(refused),
        "memory_mb": round(grown_mb, 1),
        "seconds": round(time.monotonic() - started_s, 1),
    }
    for kind in sorted(taken | refused):
        print(f"{kind:11} taken {taken[kind]:8} refused {refused[kind]:8}")
    print(
        f"{args.count} messages of seed {args.seed} in {figures['seconds']} s; "
        f"memory grew by {grown_mb:.1f} MB, at most {args.most_mb:.0f} allowed"
    )
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0 if grown_mb <= args.most_mb else 1


if __name__ == "__main__":
    sys.exit(main())
