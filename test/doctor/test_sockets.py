"""Buffers and counters in a tree that looks like the kernel's."""

from codesign_ros.doctor import sockets
from codesign_ros.doctor.finding import Verdict

OK, WARN, FAIL = Verdict

SNMP = """\
Ip: Forwarding DefaultTTL ReasmFails
Ip: 1 64 {reasm}
Icmp: InMsgs
Icmp: 7
Udp: InDatagrams NoPorts RcvbufErrors SndbufErrors
Udp: 100 2 {receive} -1
"""


def write(proc, **sizes):
    folder = proc / "sys" / "net" / "core"
    folder.mkdir(parents=True, exist_ok=True)
    for name, size in sizes.items():
        (folder / name).write_text(f"{size}\n")


def test_small_buffers_are_named_with_what_to_set(tmp_path):
    write(tmp_path, rmem_default=212992, rmem_max=163840, wmem_default=212992, wmem_max=212992)
    found = sockets.buffers(tmp_path)
    assert found.verdict is WARN
    assert found.change == "sysctl -w net.core.rmem_max=4194304"


def test_usual_buffers(tmp_path):
    write(tmp_path, rmem_default=212992, rmem_max=212992, wmem_default=212992, wmem_max=212992)
    assert sockets.buffers(tmp_path).verdict is OK


def test_a_container_that_hides_them(tmp_path):
    assert sockets.buffers(tmp_path).verdict is OK
    assert sockets.fragments(tmp_path).verdict is OK


def test_memory_for_fragments(tmp_path):
    path = tmp_path / "sys" / "net" / "ipv4" / "ipfrag_high_thresh"
    path.parent.mkdir(parents=True)
    path.write_text("4194304")
    assert sockets.fragments(tmp_path).verdict is OK
    path.write_text("100000")
    assert sockets.fragments(tmp_path).verdict is WARN


def counters(proc, **values):
    (proc / "net").mkdir(exist_ok=True)
    (proc / "net" / "snmp").write_text(SNMP.format(**values))
    return sockets.counters(proc)


def test_what_is_lost_while_one_looks_counts(tmp_path):
    before = counters(tmp_path, reasm=3, receive=5)
    assert before["Udp.RcvbufErrors"] == 5
    assert before["Udp.SndbufErrors"] == -1
    assert sockets.losses(before, before).verdict is OK
    assert "5 datagrams found a full receive buffer" in sockets.losses(before, before).found
    full = sockets.losses(before, counters(tmp_path, reasm=3, receive=9))
    assert (full.verdict, "rmem" in full.change) == (WARN, True)
    torn = sockets.losses(before, counters(tmp_path, reasm=30, receive=9))
    assert (torn.verdict, "ipfrag" in torn.change) == (WARN, True)


def test_no_counters_are_no_losses(tmp_path):
    assert sockets.losses(sockets.counters(tmp_path), sockets.counters(tmp_path)).verdict is OK
