"""Questions that Ctrl-C stops: at whatever step it strikes, the next question is answered and no thread is left."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

import duckdb
import pytest

from finlab_nb.query import interruptible
from finlab_nb.query.interruptible import InterruptibleThread

PATIENCE = 10.0


def is_served(tasks: object) -> bool:
    """Tell whether a thread waits for these questions."""
    frames = sys._current_frames().values()
    return any(one.f_code is interruptible._serve.__code__ and one.f_locals["tasks"] is tasks for one in frames)


def wait_until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# KeyboardInterrupt is raised at the n-th step of the module's code in the main thread, for each n. The steps are those
# after which the interpreter looks for signals.
AT_EVERY_STEP = """
import dis, faulthandler, gc, sys, time, duckdb
from finlab_nb.query import interruptible
from finlab_nb.query.interruptible import InterruptibleThread

faulthandler.dump_traceback_later(60, exit=True)
FILE, left, before = interruptible.__file__, 0, {}

def enter(frame, event, argument):
    if frame.f_code.co_filename == FILE:
        frame.f_trace_opcodes = True
        return step

def step(frame, event, argument):
    global left
    if event == "opcode":
        previous, before[frame] = before.get(frame, ""), dis.opname[frame.f_code.co_code[frame.f_lasti]]
        if before[frame] != "PUSH_EXC_INFO":  # the call raised an error
            left -= previous.startswith(("CALL", "RESUME", "JUMP_BACKWARD"))
        if left == 0:
            raise KeyboardInterrupt
    return step

connection, at, cut_off = duckdb.connect(":memory:"), 0, 0
for question in (lambda: connection.execute("SELECT 7").fetchone(), lambda: connection.execute("FROM nothing")):
    interrupted, at = True, 0
    while interrupted:
        at += 1
        thread, left, interrupted = InterruptibleThread(), at, False
        sys.settrace(enter)
        try:
            thread.ask(connection, question)
        except duckdb.CatalogException:
            pass
        except KeyboardInterrupt:
            interrupted = True
        sys.settrace(None)
        before.clear()
        cut_off += interrupted
        assert thread.ask(connection, lambda: connection.execute("SELECT 42").fetchone()) == (42,)
        thread.close()
gc.collect()
deadline = time.monotonic() + 10
while any(frame.f_code.co_filename == FILE for frame in sys._current_frames().values()):
    assert time.monotonic() < deadline, "a thread is left"
    time.sleep(0.01)
print("cut off", cut_off)
"""


def test_wherever_ctrl_c_strikes_the_next_question_is_answered_and_no_thread_is_left() -> None:
    done = subprocess.run([sys.executable, "-c", AT_EVERY_STEP], capture_output=True, text=True, timeout=120)
    assert done.stderr == ""
    words, count = done.stdout.rsplit(maxsplit=1)
    assert words == "cut off"
    assert int(count) > 20


# No interrupt of DuckDB ends a question that is at something else: the second Ctrl-C leaves it alone.
IMPATIENT = """
import os, signal, threading, time, duckdb
from finlab_nb.query.interruptible import InterruptibleThread

begun, may_end = threading.Event(), threading.Event()

def deaf():
    begun.set()
    may_end.wait()

def strike_twice():
    begun.wait()
    for _ in range(2):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.3)

connection, thread, striker = duckdb.connect(":memory:"), InterruptibleThread(), threading.Thread(target=strike_twice)
striker.start()
try:
    thread.ask(connection, deaf)
except KeyboardInterrupt:
    print("not waited for")
other = connection.cursor()
print(thread.ask(other, lambda: other.execute("SELECT 42").fetchone()))
may_end.set()
thread.close()
"""


def test_a_question_that_no_interrupt_ends_holds_up_neither_the_impatient_nor_the_next_question() -> None:
    done = subprocess.run([sys.executable, "-c", IMPATIENT], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("not waited for\n(42,)\n", "")


class Held:
    """Something that a question holds."""


def ask_about(thread: InterruptibleThread, held: Held, query: str) -> None:
    connection = duckdb.connect(":memory:")
    thread.ask(connection, lambda: (held, connection.execute(query).fetchall()))
    connection.close()


def test_between_questions_the_thread_holds_nothing_of_them() -> None:
    thread, held = InterruptibleThread(), Held()
    gone = weakref.ref(held)
    gc.disable()
    try:
        ask_about(thread, held, "SELECT 1")
        with pytest.raises(duckdb.CatalogException):
            ask_about(thread, held, "FROM nothing")
        del held
        wait_until(lambda: gone() is None)
    finally:
        gc.enable()
        thread.close()


def test_the_thread_ends_when_nobody_holds_its_owner() -> None:
    thread = InterruptibleThread()
    ask_about(thread, Held(), "SELECT 1")
    assert thread._server is not None
    tasks = thread._server.tasks
    wait_until(lambda: is_served(tasks))
    del thread
    wait_until(lambda: not is_served(tasks))


def test_closing_waits_for_the_question_that_is_being_answered() -> None:
    thread, connection, done = InterruptibleThread(), duckdb.connect(":memory:"), []
    closing = threading.Thread(target=lambda: (thread.close(), done.append("closed")))

    def question() -> None:
        closing.start()
        closing.join(0.2)
        done.append("answered")

    thread.ask(connection, question)
    closing.join()
    connection.close()
    assert done == ["answered", "closed"]


def test_a_question_may_close_its_own_thread() -> None:
    thread, connection = InterruptibleThread(), duckdb.connect(":memory:")
    thread.ask(connection, thread.close)
    assert thread.ask(connection, lambda: connection.execute("SELECT 42").fetchone()) == (42,)
    thread.close()
    connection.close()
