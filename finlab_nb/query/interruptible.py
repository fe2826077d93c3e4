"""Questions that Ctrl-C can stop.

Python sees a signal only between its own instructions, and only in the main thread, while DuckDB may compute for
minutes inside one call. So a question of the main thread is answered in another thread; the main thread waits where
an interrupt can reach it, and passes the interrupt on to DuckDB.

Ctrl-C can strike between any two steps of the main thread, so nothing here relies on a step that follows another one.
A question is claimed before it is answered: by the thread, or by an interrupt that then knows that it never begins. And
whoever asks takes the thread along until the answer is there: a thread whose question was cut off ends after it, and
the next question has a new one. Threads are those of `_thread`, because `threading` can leave its own locks taken.
"""

from __future__ import annotations

import _thread
import contextlib
import queue
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

import duckdb

Answer = TypeVar("Answer")
Question = Callable[[], Answer]

_REPEATED_SECONDS: Final = 0.02

_current = threading.local()


def stop_if_interrupted() -> None:
    """Raise KeyboardInterrupt if the question of this thread was interrupted: for work outside DuckDB."""
    task: _Task[Any] | None = getattr(_current, "task", None)
    if task is not None and task.interrupted:
        raise KeyboardInterrupt


class _Task(Generic[Answer]):
    """One question on its way to the thread and back."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, question: Question[Answer]) -> None:
        self.interrupted = False
        self._connection = connection
        self._question = question
        self._claim = threading.Lock()
        self._begun = self.over = False
        self._sign = threading.Lock()  # released when it is over
        self._sign.acquire()
        self._answers: list[Answer] = []
        self._error: BaseException | None = None

    def run(self) -> None:
        """Answer it, in the thread."""
        if not self._claim.acquire(blocking=False):
            return
        self._begun, _current.task = True, self
        try:
            self._answers.append(self._question())
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that asks
            if not self.interrupted:  # else nobody would take it, and it would hold this frame, and the frame it
                self._error = error
        finally:
            _current.task = None
            self.over = True
            self._sign.release()

    def wait(self, tasks: queue.SimpleQueue[_Task[Any] | None]) -> Answer:
        """Have it answered and return the answer; an interrupt stops the question first."""
        try:
            tasks.put(self)
            self._sign.acquire()
        except BaseException:
            self.interrupted = True
            if not self._claim.acquire(blocking=False):
                _thread.start_new_thread(self._stop, ())  # which goes on though a second interrupt ends this wait
                while not self.over:
                    self._sign.acquire(timeout=_REPEATED_SECONDS)
            raise
        error, self._error = self._error, None
        try:
            if error is not None:
                raise error
            return self._answers.pop()
        finally:
            del error  # else it would hold this frame, and the frame it

    def _stop(self) -> None:
        """Interrupt again and again: a question may ask several queries, and an interrupt ends only the current one."""
        while not self.over:
            with contextlib.suppress(duckdb.Error):
                self._connection.interrupt()
            time.sleep(_REPEATED_SECONDS)

    def wait_for_end(self) -> None:
        """Wait until it is over, unless it never began or this is its own thread."""
        while self._begun and not self.over and getattr(_current, "task", None) is not self:
            time.sleep(_REPEATED_SECONDS)


class _Server:
    """A thread that answers one question after the other, and ends when nobody holds this any more."""

    def __init__(self) -> None:
        self.tasks: queue.SimpleQueue[_Task[Any] | None] = queue.SimpleQueue()
        weakref.finalize(self, self.tasks.put, None).atexit = False
        _thread.start_new_thread(_serve, (self.tasks,))


def _serve(tasks: queue.SimpleQueue[_Task[Any] | None]) -> None:
    while (task := tasks.get()) is not None:
        task.run()
        del task  # else it would live on while this waits


class InterruptibleThread:
    """Answers questions of the main thread in a thread, which starts with the first one and ends with `close`.

    Between questions the thread holds nothing; it also ends when nobody holds this any more.
    """

    def __init__(self) -> None:
        self._server: _Server | None = None
        self._asked: Callable[[], _Task[Any] | None] = lambda: None

    def ask(self, connection: duckdb.DuckDBPyConnection, question: Question[Answer]) -> Answer:
        """Return the answer to a question that asks this connection."""
        if threading.current_thread() is not threading.main_thread():
            return question()  # interrupts never arrive here
        task = _Task(connection, question)
        self._asked = weakref.ref(task)
        server, self._server = self._server or _Server(), None
        try:
            return task.wait(server.tasks)
        finally:
            if task.over:
                self._server = server

    def close(self) -> None:
        """End the thread, after the question that it is at."""
        self._server = None
        if (task := self._asked()) is not None:
            task.wait_for_end()
