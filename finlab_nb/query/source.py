"""What stands under the frames: a source of views, which the replica is, and another engine can be.

A source answers questions. A question is a function of a `Moment`: DuckDB views over all tables of `tables.TABLES`, and
`results` (see `finlab_nb.query.results`), as they are at one moment. It names the tables that it reads, so that
no other table needs to be brought up to date for it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

import duckdb
import pyarrow as pa

from finlab_nb.errors import QueryError, StorageError

if TYPE_CHECKING:
    from pathlib import Path

    from finlab_nb.query.results import Results

Answer = TypeVar("Answer")


class Moment(Protocol):
    """The views at one moment, for one question."""

    @property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """A connection in a transaction, which is rolled back after the question."""
        ...

    @property
    def results(self) -> Results:
        """What is in the wide table; only for a question that names ``results`` among its tables."""
        ...

    def rows_of(self, table: str, owners: Sequence[str]) -> str:
        """Return what to select from for the rows of some owners of a table, possibly among other rows.

        It has the columns of the view and its name, and can be cheaper to read: the view itself is always right, unless
        the question named `owners`.
        """
        ...

    def held(self, table: str) -> Collection[str]:
        """Return the columns of a table in which any row may have a value."""
        ...

    def bad_values(self, tables: Collection[str]) -> Mapping[str, Mapping[str, int]]:
        """Return how many values of some tables broke the rules and are missing, by table and column."""
        ...


Question: TypeAlias = Callable[[Moment], Answer]


class Source(Protocol):
    """Views over one store, which show its newest moment."""

    def answer(
        self, question: Question[Answer], tables: Collection[str], owners: Sequence[str] | None = None
    ) -> Answer:
        """Answer a question about the newest moment; all its queries see that same moment.

        Parameters
        ----------
        question
            Called once, or again if a first try failed for a reason that is gone.
        tables
            The names of all views that it reads; ``results`` stands for those that it is made from too.
        owners
            If given, the question reads only rows of these owners (``iteration_id``, or the name of a series), and
            reads tables by `Moment.rows_of`.

        Raises
        ------
        duckdb.Error
            If DuckDB refuses a query.
        StorageError
            If the store cannot be read.
        """
        ...

    def stream(self, question: Question[pa.RecordBatchReader], tables: Collection[str]) -> pa.RecordBatchReader:
        """Return an answer in pieces, all of the moment at which it was asked; it ends when it is read or dropped."""
        ...

    def version(self) -> Hashable:
        """Return what differs whenever an answer may have changed; this takes microseconds."""
        ...

    def series_names(self) -> Sequence[tuple[Any, ...]]:
        """Return the rows of `finlab_nb.store.series.names`, which no view holds."""
        ...

    @property
    def own_paths(self) -> tuple[Path, Path]:
        """The database and the folder of the cache, where no export may write."""
        ...


@contextlib.contextmanager
def translated_errors() -> Iterator[None]:
    """Turn the errors of the libraries that make an answer into ours."""
    try:
        yield
    except (MemoryError, duckdb.OutOfMemoryException) as error:
        raise QueryError(f"the answer needs more memory than there is: {error}") from error
    except (duckdb.Error, pa.ArrowException) as error:
        raise QueryError(str(error)) from error
    except OSError as error:
        if error.errno is None:  # pyarrow's, for what a stream of DuckDB ends with
            raise QueryError(str(error)) from error
        raise StorageError(f"the answer could not be made: {error}") from error
