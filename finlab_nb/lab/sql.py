"""SQL, exported files and the cache behind the answers: methods of `Lab`, which delegate."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, overload

import pandas as pd

from finlab_nb.lab.base import Base


class SqlAnswers(Base):
    """SQL, exported files and the cache behind the answers."""

    @overload
    def sql(
        self,
        query: str,
        params: Sequence[Any] | Mapping[str, Any] | None = None,
        *,
        frames: Mapping[str, Any] | None = None,
        to: Literal["pandas"] = "pandas",
    ) -> pd.DataFrame: ...

    @overload
    def sql(
        self,
        query: str,
        params: Sequence[Any] | Mapping[str, Any] | None = None,
        *,
        frames: Mapping[str, Any] | None = None,
        to: str,
    ) -> Any: ...

    def sql(
        self,
        query: str,
        params: Sequence[Any] | Mapping[str, Any] | None = None,
        *,
        frames: Mapping[str, Any] | None = None,
        to: str = "pandas",
    ) -> Any:
        """Return the answer to a SELECT in DuckDB's SQL, which can neither write nor read files.

        Ctrl-C, or the stop button of a notebook, ends a query that takes too long.

        Parameters
        ----------
        query
            One SELECT, VALUES, PIVOT, UNPIVOT, SUMMARIZE, DESCRIBE, SHOW or plain EXPLAIN over the views
            ``strategies, iterations, metrics, extra_metrics, given_metrics, suggestions, applications, trades, equity,
            tags, provenance, series``, and ``results``: a row for each iteration with all metrics, and the structs
            ``param`` and ``metric``, as in ``SELECT stock_code, param.lookback FROM trades JOIN results USING
            (iteration_id)``.

            Any other table name refers to a variable, spelled the same, as Python finds it at the place of the call: in
            the calling function, in the running functions that it is written in, or a global one. It must be a
            DataFrame of pandas, whose index is left out, or of polars, or a table or reader of pyarrow, which is read
            to its end. A view takes precedence over a variable, and a name defined by WITH over both.
        params
            Values for ``?`` or ``$name`` in the query: numbers, texts, dates and moments, also of numpy and pandas, and
            lists of them; what is missing is NULL.
        frames
            Further tables by name, where variables will not do.
        to
            - ``pandas``: a DataFrame.
            - ``arrow``: a pyarrow.Table.
            - ``polars``: a DataFrame of polars.
            - ``stream``: a pyarrow.RecordBatchReader, for answers larger than memory. All of it is of the moment at
              which it was asked. It ends when it is read to its end, or dropped; until then it keeps that moment.

        Returns
        -------
        DataFrame, pyarrow.Table or pyarrow.RecordBatchReader
            The columns of the query. A later one of a name, regardless of case, ends in ``_2``, ``_3`` and so on. The
            fields of the structs ``param`` and ``metric`` are columns ``param.<name>`` and ``metric.<name>``.

            In a DataFrame of pandas text is str, and a missing value makes a whole number or flag nullable (Int64,
            boolean). Decimal numbers are float64, the nearest to each; sums of whole numbers are int64, float64 if one
            does not fit. Dates are datetime64[us], moments datetime64[us, UTC], and their differences timedelta64[us];
            intervals with months, which have no length, are DateOffsets. Enums are categories, lists arrays,
            structs dicts and maps lists of pairs. Otherwise the types are those of DuckDB.

        Raises
        ------
        QueryError
            If the query is not one SELECT, could do more than answer, or DuckDB refuses it; if a variable is no table;
            or if the answer holds what the form asked for cannot.
        StorageError
            If polars is missing.
        ValueError
            If another argument is wrong.

        Notes
        -----
        A number with a point, such as 0.3, is a decimal number for DuckDB. Up to 15 digits it equals the float64 that
        Python makes of it; longer ones do so as a value of `params`, or with an exponent (``0.3e0``).

        Examples
        --------
        >>> from finlab_nb import Lab
        >>> watched = pd.DataFrame({"stock_code": ["2330", "2317"]})
        >>> with Lab(":memory:") as lab:
        ...     found = lab.sql("SELECT count(*) AS trades FROM trades JOIN watched USING (stock_code)")
        >>> found["trades"].item()
        0
        """
        return self.frames.sql(query, params, frames=frames, to=to)

    # Files --------------------------------------------------------------------------------------------------------

    def export_frames(
        self,
        directory: str | os.PathLike[str],
        tables: str | Iterable[str] | None = None,
        format: str = "parquet",  # noqa: A002 - the word that pandas users expect
        where: str | None = None,
        *,
        partition_by: str | None = None,
        progress: bool = True,
    ) -> list[Path]:
        """Write tables to files named after them, all showing one moment, and return the paths.

        Rows pass through in pieces, so that memory does not grow with the book. Each file is written under a temporary
        name and flushed, and all are put in place when the last one is complete: a failed export changes nothing.

        Parameters
        ----------
        directory
            The folder, created if need be. Files of the same names in it are replaced.
        tables
            Of ``strategies, iterations, metrics, extra_metrics, given_metrics, suggestions, applications, trades,
            equity, tags, provenance, series``; by default all of these. The days of trades, curves and series are
            written too. ``results`` is what `iterations` returns.
        format
            - ``parquet``: typed; the one for large books.
            - ``feather``: typed, Arrow's own file format.
            - ``csv``: UTF-8 with a byte order mark, dates as ISO 8601, unknown values empty.
            - ``json``: a list of objects, one per line; infinite figures are the texts "Infinity" and "-Infinity".
            - ``xlsx``: one sheet per file, timestamps in UTC; needs ``pip install "finlab-nb[excel]"``.

            In csv and xlsx, text that starts with ``= + - @``, a tab or a carriage return gets an apostrophe before it,
            because spreadsheets would run it as a formula. Numbers stay as they are.
        where
            An SQL condition on the columns of `iterations`: only the rows of these iterations are written, and
            their strategies. Series belong to no iteration and are written whole.
        partition_by
            ``"strategy"``: each table becomes a folder with one Parquet file for each strategy version, named
            ``strategy_id=<id>/part-0.parquet``, from which readers make the column ``strategy_id``. Rows without a
            strategy, which only another program can have left, are under ``strategy_id=unknown``. The tables of
            strategies and of series stay one file each.
        progress
            Show a progress bar on stderr when it takes more than a second.

        Returns
        -------
        list of Path
            The files, or with `partition_by` the folders, in the order of the tables.

        Raises
        ------
        ValueError
            If an argument is wrong, or a table does not fit into a sheet of Excel.
        QueryError
            If the condition is wrong.
        StorageError
            If a file cannot be written, or the library for Excel is missing.
        """
        from finlab_nb.query.exports import export_frames

        return export_frames(
            self.frames, directory, tables, format, where, partition_by=partition_by, progress=progress
        )

    def cache_info(self) -> dict[str, Any]:
        """Return what the Parquet cache holds at this moment.

        Returns
        -------
        dict
            folder (Path); temporary: whether the folder is one, because the one beside the database cannot be written;
            generation, to which its segments belong; bytes; segments (their number by table), delta_rows (rows by
            table that no segment holds yet) and reader_process (id, None while no reader runs).
        """
        return self._engine.cache_info()

    def clear_cache(self) -> None:
        """Remove the Parquet cache, which loses nothing but time: the next question rebuilds it."""
        self._engine.clear_cache()
