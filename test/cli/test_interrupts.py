"""Ctrl-C: it ends what runs, also where an interrupt is lost on the way."""

import contextlib
import os
import signal
import sys
import threading
import time
import weakref

import pytest

from codesign_ros.cli import interrupts
from codesign_ros.cli.interrupts import lasting_interrupts
from codesign_ros.cli.main import main


def press():
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.01)


class Callback:
    """An object whose end is interrupted."""

    def __init__(self):
        self.watched = type("Watched", (), {})()
        self.reference = weakref.ref(self.watched, lambda _: press())


def lose_in_callback():
    Callback().watched = None


def lose_in_code_that_catches_all():
    with contextlib.suppress(BaseException):
        press()


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(interrupts, "_AGAIN_S", 0.05)


@pytest.mark.parametrize("lose", [lose_in_callback, lose_in_code_that_catches_all])
def test_an_interrupt_that_is_lost_comes_again(capsys, lose):
    before, hook, start = signal.getsignal(signal.SIGINT), sys.unraisablehook, time.monotonic()

    @lasting_interrupts()
    def work():
        lose()
        lose()
        while time.monotonic() < start + 20:
            time.sleep(0.01)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert time.monotonic() < start + 10
    assert (signal.getsignal(signal.SIGINT), sys.unraisablehook) == (before, hook)
    assert capsys.readouterr().err == ""


def test_what_ends_before_it_comes_again_was_interrupted():
    with pytest.raises(KeyboardInterrupt), lasting_interrupts():
        lose_in_callback()
    time.sleep(0.1)  # and it does not come any more


def test_none_comes_behind_the_end(monkeypatch):
    """However near to the end it is sent again."""
    again_s = 0.002
    monkeypatch.setattr(interrupts, "_AGAIN_S", again_s)
    before, strays = signal.getsignal(signal.SIGINT), 0

    @lasting_interrupts()
    def work(seconds):
        lose_in_callback()
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            pass

    for n in range(100):
        try:
            with pytest.raises(KeyboardInterrupt):
                work(again_s * (n % 10) / 5)
            time.sleep(2 * again_s)
        except KeyboardInterrupt:
            strays += 1
    assert strays == 0
    assert signal.getsignal(signal.SIGINT) is before


def test_other_errors_pass_and_other_threads_are_let_alone():
    with pytest.raises(ValueError, match="told"), lasting_interrupts():
        raise ValueError("told")
    ended = []

    def work():
        with lasting_interrupts():
            ended.append(True)

    worker = threading.Thread(target=work)
    worker.start()
    worker.join()
    assert ended


def test_an_import_that_loses_an_interrupt_ends(capsys, tmp_path, monkeypatch):
    (tmp_path / "net.py").write_text(
        "from torch import nn\n\n\nclass Net(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n        self.c = nn.Conv2d(3, 2, 1)\n"
        "\n    def forward(self, x):\n        return self.c(x).mean((2, 3))\n"
    )
    from codesign_ros.models.graph import module_weights

    monkeypatch.setattr(module_weights, "check_finite", lambda _: lose_in_callback())
    out = tmp_path / "x.bundle"
    status = main(["import", f"{tmp_path}/net.py:Net", "--out", str(out), "--input", "32x32"])
    assert status == 130
    assert "Traceback" not in capsys.readouterr().err
