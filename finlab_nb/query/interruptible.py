"""Questions that Ctrl-C can stop.

Python sees a signal only between its own instructions, and only in the main thread, while DuckDB may compute for
minutes inside one call. So a question of the main thread is answered in a thread of the engine; the main thread
waits where an interrupt can reach it, and passes the interrupt on to DuckDB.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import weakref
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

import duckdb

Answer = TypeVar("Answer")
Question = Callable[[duckdb.DuckDBPyConnection], Answer]

_REPEATED_SECONDS: Final = 0.02

_current = threading.local()


def answered(
    connection: duckdb.DuckDBPyConnection,
    question: Question[Answer],
    started: Callable[[duckdb.DuckDBPyConnection], None] | None = None,
) -> Answer:
    """Answer a question in its own transaction, which changes nothing."""
    with connection.cursor() as cursor:
        if started is not None:
            started(cursor)
        cursor.execute("BEGIN TRANSACTION")
        try:
            return question(cursor)
        finally:
            with contextlib.suppress(duckdb.Error):
                cursor.execute("ROLLBACK")


def stop_if_interrupted() -> None:
    """Raise KeyboardInterrupt if the question of this thread was interrupted: for work outside DuckDB."""
    task: _Task[Any] | None = getattr(_current, "task", None)
    if task is not None and task.interrupted:
        raise KeyboardInterrupt


class _Task(Generic[Answer]):
    """One question on its way to the thread and back."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, question: Question[Answer]) -> None:
        self._connection = connection
        self._question = question
        self._cursor: duckdb.DuckDBPyConnection | None = None
        self._outcome: Callable[[], Answer] | None = None
        self.done = threading.Event()
        self.interrupted = False

    def run(self) -> None:
        _current.task = self
        try:
            answer = answered(self._connection, self._question, self._start)
            self._outcome = lambda: answer
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that asks
            self._outcome = _raiser(error)
        finally:
            self._cursor = _current.task = None
            self.done.set()

    def _start(self, cursor: duckdb.DuckDBPyConnection) -> None:
        self._cursor = cursor

    def wait(self) -> Answer:
        """Return the answer; an interrupt stops the question first."""
        try:
            self.done.wait()
        except BaseException:
            self.interrupted = True
            # Repeated, because a question may ask several queries, and an interrupt ends only the current one.
            while not self.done.wait(_REPEATED_SECONDS):
                cursor = self._cursor
                if cursor is not None:
                    with contextlib.suppress(duckdb.Error):
                        cursor.interrupt()
            raise
        assert self._outcome is not None  # noqa: S101
        outcome, self._outcome = self._outcome, None
        return outcome()


def _raiser(error: BaseException) -> Callable[[], Any]:
    def raise_it() -> Any:
        raise error

    return raise_it


class InterruptibleThread:
    """Answers questions of the main thread in its own thread, which starts with the first one and ends with `close`."""

    def __init__(self) -> None:
        self._tasks: queue.SimpleQueue[_Task[Any] | None] | None = None
        self._thread: threading.Thread | None = None

    def ask(self, connection: duckdb.DuckDBPyConnection, question: Question[Answer]) -> Answer:
        """Return the answer to a question."""
        if threading.current_thread() is not threading.main_thread():
            return answered(connection, question)  # interrupts never arrive here
        if self._tasks is None:
            self._tasks = queue.SimpleQueue()
            self._thread = threading.Thread(target=_serve, args=(self._tasks,), name="finlab_nb questions", daemon=True)
            self._thread.start()
            weakref.finalize(self, self._tasks.put, None).atexit = False
        task = _Task(connection, question)
        self._tasks.put(task)
        return task.wait()

    def close(self) -> None:
        """End the thread."""
        if self._tasks is not None:
            self._tasks.put(None)
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        self._tasks = self._thread = None


def _serve(tasks: queue.SimpleQueue[_Task[Any] | None]) -> None:
    while (task := tasks.get()) is not None:
        task.run()
        del task
