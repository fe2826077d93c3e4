"""A query only answers: what could do more is refused by what DuckDB parsed, and honest text is not."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest

import finlab_nb as fl
from books import fill
from finlab_nb.query.frames.parsing import REFUSED_FUNCTIONS, TABLE_FUNCTIONS, parsed

ANSWER = "SELECT count(*) AS n, sum(profit_loss) AS total, min(trade_id) AS first FROM trades"

ATTACKS = [
    # Statements that write, configure or attach.
    "EXPLAIN (ANALYZE) COPY (SELECT 1) TO '{segment}'",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO '{segment}'",
    "EXPLAIN (ANALYZE, FORMAT json) DELETE FROM copied.trades",
    "/* x */ EXPLAIN /* é */ ANALYZE DELETE FROM copied.trades",
    "-- é\nEXPLAIN\n(ANALYZE)\nDELETE FROM copied.trades",
    "EXPLAIN ANALYZE SELECT * FROM trades",
    "EXPLAIN EXPLAIN ANALYZE DELETE FROM copied.trades",
    "COPY (SELECT 1) TO '{out}'",
    "COPY trades TO '{segment}' (FORMAT parquet)",
    "EXPORT DATABASE '{out}'",
    "PRAGMA import_database('{folder}')",
    "INSERT INTO copied.trades SELECT * FROM copied.trades",
    "DELETE FROM copied.trades",
    "UPDATE copied.trades SET profit_loss = 0",
    "TRUNCATE copied.trades",
    "MERGE INTO copied.trades USING (SELECT 1 AS x) ON true WHEN MATCHED THEN DELETE",
    "CREATE OR REPLACE VIEW trades AS SELECT 1 AS x",
    "CREATE TEMP TABLE trades (x INT)",
    "CREATE MACRO count(x) AS 0",
    "DROP VIEW trades",
    "ALTER VIEW trades RENAME TO t",
    "WITH gone AS (DELETE FROM copied.trades RETURNING *) SELECT count(*) FROM gone",
    "WITH more AS (INSERT INTO copied.tags VALUES (1) RETURNING *) SELECT * FROM more",
    "SELECT 1; DELETE FROM copied.trades",
    "SELECT 1; SELECT 2",
    "SET threads = 1",
    "SET VARIABLE x = 1",
    "RESET threads",
    "USE copied",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "CHECKPOINT",
    "VACUUM",
    "ANALYZE",
    "LOAD sqlite",
    "INSTALL sqlite",
    "ATTACH '{db}' (TYPE sqlite)",
    "DETACH memory",
    "PREPARE p AS DELETE FROM copied.trades",
    "EXECUTE p",
    "CALL enable_logging()",
    "PRAGMA enable_profiling",
    "PRAGMA version",
    # The engine's own tables.
    "SELECT * FROM copied.trades",
    "TABLE copied.trades",
    "SELECT * FROM memory.copied.trades",
    'SELECT * FROM "COPIED" . /* x */ "Trades"',
    "SELECT (SELECT count(*) FROM copied.trades)",
    "SELECT 1 WHERE EXISTS (FROM copied.trades)",
    "WITH a AS (WITH b AS (FROM copied.trades) FROM b) FROM a",
    "DESCRIBE copied.trades",
    "SHOW copied.trades",
    "SUMMARIZE copied.trades",
    "SHOW TABLES FROM copied",
    "PIVOT copied.trades ON stock_code IN ('2330') USING sum(profit_loss)",
    "SELECT * FROM trades SEMI JOIN copied.trades USING (trade_id)",
    "EXPLAIN SELECT * FROM copied.trades",
    "SELECT * FROM histogram('copied.trades', profit_loss)",
    "SELECT * FROM query_table('copied.trades')",
    "SELECT * FROM query/* x */('DELETE FROM copied.trades')",
    "SELECT json_serialize_plan('SELECT * FROM copied.trades')",
    # Files.
    "SELECT * FROM '{segment}'",
    'SELECT * FROM "{segment}"',
    'DESCRIBE "{segment}"',
    "SHOW '{segment}'",
    "WITH '{segment}' AS (SELECT 1) SELECT * FROM '{segment}'",
    "SELECT * FROM (WITH '{segment}' AS (SELECT 1) SELECT 1), '{segment}'",
    "SELECT * FROM '{stem}'.parquet",
    "SELECT * FROM main.'{stem}.parquet'",
    "SELECT * FROM read_parquet('{segment}')",
    "SELECT * FROM read_parquet/* x */ (['{segment}'])",
    "SELECT * FROM system.main.\"read_parquet\"('{segment}')",
    "SELECT * FROM parquet_scan('{segment}')",
    "SELECT * FROM parquet_metadata('{segment}')",
    "SELECT * FROM parquet_schema('{segment}')",
    "SELECT * FROM glob('{folder}/*')",
    "SELECT * FROM read_blob('{db}')",
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM sniff_csv('/etc/passwd')",
    "SELECT * FROM read_json('/etc/passwd')",
    "SELECT * FROM '/etc/passwd'",
    "SELECT * FROM sqlite_scan('{db}', 'trades')",
    "SELECT * FROM trades, LATERAL (SELECT * FROM read_text('/etc/passwd'))",
    "SELECT 1 IN (SELECT size FROM read_blob('{db}'))",
    # Functions that change a later answer, and what tells of the machine.
    "SELECT setseed(0.5)",
    'SELECT main."setseed" /* x */ (0.5)',
    "SELECT (0.5).setseed()",
    "SELECT nextval('x')",
    "SELECT currval('x')",
    "SELECT write_log('x')",
    "SELECT sleep_ms(1)",
    "SELECT getenv('PATH')",
    "SELECT current_setting('temp_directory')",
    "SELECT * FROM duckdb_settings()",
    "SELECT * FROM pg_catalog.pg_settings",
    "SELECT * FROM duckdb_databases",
    "SELECT * FROM duckdb_secrets()",
    "SELECT * FROM duckdb_temporary_files()",
    "SELECT * FROM enable_logging(storage='file', storage_config={'path': '{out}'})",
    "SELECT * FROM system.main.\"enable_logging\" ('x')",
    "SELECT * FROM enable_profiling()",
    "SELECT * FROM checkpoint()",
    "SELECT * FROM json_execute_serialized_sql('{}')",
    "SELECT * FROM pandas_scan(0, 0, 0)",
    "SELECT * FROM arrow_scan(0, 0, 0)",
    "SELECT * FROM python_map_function(trades)",
    "SELECT * FROM which_secret('{db}', 's3')",
]

BREAKING_OUT = [
    "1=1) UNION ALL SELECT * FROM copied.trades --",
    "1=1) UNION SELECT * FROM iterations WHERE (1=1",
    "false) OR (true",
    "true)) --",
    "1=1; DELETE FROM copied.trades",
    "true /* ",
    "true LIMIT 1",
    "true ORDER BY 1",
    "true UNION SELECT true",
    "true AS x",
    "EXISTS (FROM copied.trades)",
    "setseed(0.5) IS NULL",
    "note IN (SELECT content FROM read_text('/etc/passwd'))",
    "iteration_id IN (SELECT iteration_id FROM '{segment}')",
]

HONEST = [
    ("SELECT 1 AS x", [1]),
    ("SELECT 1 AS x;", [1]),
    ("SELECT 1 AS x; -- the end", [1]),
    ("-- before\nSELECT 1 AS x -- after", [1]),
    ("/* ; DROP TABLE x */ SELECT 1 AS x", [1]),
    ("WITH a AS (SELECT 1 AS x) FROM a", [1]),
    (
        "WITH RECURSIVE a AS (SELECT 1 AS x UNION ALL SELECT x + 1 FROM a WHERE x < 3) SELECT x FROM a ORDER BY x",
        [1, 2, 3],
    ),
    ("WITH trades AS (SELECT count(*) AS x FROM trades) FROM trades", [30_000]),
    ('WITH "per stock" AS (SELECT 1 AS x) FROM "per stock"', [1]),
    ("FROM (VALUES (1), (2)) AS t(x)", [1, 2]),
    ("VALUES (1), (2)", [1, 2]),
    ("(SELECT 1 AS x) UNION ALL (SELECT 2) ORDER BY x", [1, 2]),
    ("SELECT unnest([1, 2]) AS x", [1, 2]),
    ("SELECT 'a query (x) that would checkpoint() and read_csv(''y'')' LIKE '%query (%' AS x", [True]),
    ("SELECT 'EXPLAIN ANALYZE; COPY x TO y.parquet' AS x", ["EXPLAIN ANALYZE; COPY x TO y.parquet"]),
    ("SELECT $$it's; -- DROP$$ AS x", ["it's; -- DROP"]),
    ("SELECT 1 AS \"read_csv('x')\"", [1]),
    ("SELECT '台積電' AS 名稱", ["台積電"]),
    ("SELECT query FROM (SELECT 1 AS query)", [1]),
    ("SELECT copied.x FROM (SELECT 1 AS x) AS copied", [1]),
    ("PIVOT trades ON stock_code IN ('2330') USING count(*) GROUP BY position_size", [1.0]),
    ("SELECT value FROM (UNPIVOT (SELECT 1 AS a, 2 AS b) ON a, b)", [1, 2]),
    ("SELECT count(*) FROM main.trades", [30_000]),
    ("SELECT count(*) FROM memory.main.trades", [30_000]),
    ("SELECT count(*) > 0 FROM information_schema.tables", [True]),
    ("SELECT count(*) > 0 FROM information_schema.columns WHERE table_name = 'trades'", [True]),
    ("SELECT count(*) > 0 FROM duckdb_views()", [True]),
    ("SELECT count(*) > 0 FROM pg_catalog.pg_class", [True]),
    ("SELECT sum(range) FROM range(3)", [3]),
    ("SELECT json_extract_string(value, '$') FROM json_each('[\"a\"]')", ["a"]),
    ("SELECT histogram(position_size)[1.0] FROM trades", [30_000]),
    ("SELECT count(*) FROM trades TABLESAMPLE 100%", [30_000]),
    ("SELECT row_number() OVER (ORDER BY trade_id) AS x FROM trades LIMIT 2", [1, 2]),
    ("SELECT list_transform([1, 2], lambda x: x + 1)[1]", [2]),
    (f"SELECT {'(' * 100}1{')' * 100} AS x", [1]),
]


def _files(*folders: Path) -> dict[str, Any]:
    """Return what is in some folders; the database is not opened, which would end the locks of the pool.

    SQLite itself writes to the companions of the database, even to read it.
    """
    return {
        str(path): (
            path.stat().st_size,
            path.stat().st_mtime_ns,
            hashlib.sha256(path.read_bytes()).hexdigest() if path.suffix == ".parquet" else None,
        )
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file() and path.suffix not in (".db-wal", ".db-shm")
    }


class Book:
    """A lab with segments, in folders of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.scratch = folder / "data", folder / "scratch"
        self.folder.mkdir()
        self.scratch.mkdir()
        with fl.Lab(self.folder / "lab.db") as lab:
            fill(lab)
            lab._engine.settle()  # and all is done, the log too, so that nothing is left to do later
        self.lab = fl.Lab(self.folder / "lab.db")

    def filled(self, text: str) -> str:
        segment = next((self.folder / "lab.db.cache").rglob("*.parquet"))
        names = {
            "segment": segment,
            "stem": segment.with_suffix(""),
            "folder": self.folder,
            "out": self.scratch / "out",
        }
        for name, value in {**names, "db": self.lab.store.path}.items():
            text = text.replace(f"{{{name}}}", str(value))
        return text

    def state(self) -> Any:
        answer = self.lab.sql(ANSWER).to_dict("records")
        return answer, _files(self.folder, self.scratch)


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Book]:
    with pytest.MonkeyPatch.context() as patch:
        made = Book(tmp_path_factory.mktemp("book"))
        patch.setattr(tempfile, "tempdir", str(made.scratch))
        patch.chdir(made.scratch)
        with made.lab as lab:
            assert len(lab.trades()) == 30_000
            yield made


@pytest.mark.parametrize("query", ATTACKS)
def test_a_query_that_could_do_more_than_answer_is_refused_and_changes_nothing(book: Book, query: str) -> None:
    before = book.state()
    with pytest.raises(fl.QueryError):
        book.lab.sql(book.filled(query))
    assert book.state() == before
    with pytest.raises(fl.QueryError):
        book.lab.sql(book.filled(query), to="stream")
    assert book.state() == before


@pytest.mark.parametrize("where", BREAKING_OUT)
def test_a_condition_cannot_break_out_of_its_parentheses(book: Book, where: str) -> None:
    before = book.state()
    text = book.filled(where)
    for ask in (
        lambda: book.lab.iterations(where=text),
        lambda: book.lab.best(where=text),
        lambda: book.lab.export_frames(book.scratch / "export", "tags", where=text),
    ):
        with pytest.raises(fl.QueryError):
            ask()
    assert book.state() == before


@pytest.mark.parametrize(("query", "expected"), HONEST)
def test_an_honest_query_is_answered_whatever_its_text_looks_like(book: Book, query: str, expected: list[Any]) -> None:
    assert book.lab.sql(query).iloc[:, 0].tolist() == expected


@pytest.mark.parametrize(
    "query",
    [
        "DESCRIBE trades",
        "SHOW trades",
        "SHOW TABLES",
        "SHOW ALL TABLES",
        "SUMMARIZE trades",
        "SUMMARIZE SELECT 1",
        "EXPLAIN SELECT * FROM trades",
        "EXPLAIN FROM trades",
        "/* x */ explain (SELECT 1)",
        "-- é\nEXPLAIN/* é */SELECT 'é'",
        "EXPLAIN DESCRIBE trades",
    ],
)
def test_a_query_about_queries_is_answered(book: Book, query: str) -> None:
    assert not book.lab.sql(query).empty


def test_a_condition_may_hold_comments_strings_and_queries_of_views(book: Book) -> None:
    for where in (
        "true -- ) UNION",
        "'1=1) OR (' <> ''",
        "total_trades = 500 /* of all */",
        "iteration_id IN (SELECT iteration_id FROM trades)",
        "(total_trades > 1) OR (total_trades < 1)",
    ):
        assert len(book.lab.iterations(where=where)) == 60


@pytest.mark.parametrize("opening", ["(", "abs(", "(FROM ", "[", "NOT ("])
def test_deep_nesting_is_an_answer_or_an_error_in_words(book: Book, opening: str) -> None:
    for depth in (50, 300, 900, 5000):
        closing = ("]" if "[" in opening else ")") * depth
        start = "SELECT * FROM " if "FROM" in opening else "SELECT "
        inner = "range(1)" if "FROM" in opening else "true" if "NOT" in opening else "1"
        try:
            assert len(book.lab.sql(f"{start}{opening * depth}{inner}{closing}", to="arrow")) == 1
        except fl.QueryError:
            assert depth > 50
    assert book.lab.sql("SELECT 1 AS x")["x"].tolist() == [1]


def test_a_pivot_without_values_is_told_what_it_lacks(book: Book) -> None:
    with pytest.raises(fl.QueryError, match=r"give PIVOT its values with IN"):
        book.lab.sql("PIVOT trades ON stock_code USING sum(profit_loss)")


def test_placeholders_of_two_kinds_are_refused_in_the_words_of_duckdb(book: Book) -> None:
    with pytest.raises(fl.QueryError, match="Mixing named and positional parameters"):
        book.lab.sql("SELECT ?, $x", [1])


# The volatile functions of DuckDB 1.5 to 2.0 that change nothing. A new one is to be sorted by what it does.
HARMLESS = {
    *("current_connection_id", "current_query", "current_query_id", "current_transaction_id", "error"),
    *("gen_random_uuid", "random", "stats", "uuid", "uuidv4", "uuidv7", "vector_type"),
}


def test_every_volatile_function_of_duckdb_is_known() -> None:
    with duckdb.connect() as connection:
        rows = connection.execute(
            "SELECT DISTINCT function_name FROM duckdb_functions() "
            "WHERE function_type IN ('scalar', 'macro') AND stability = 'VOLATILE'"
        ).fetchall()
    assert {name for (name,) in rows} <= HARMLESS | REFUSED_FUNCTIONS


def test_every_table_function_of_duckdb_is_allowed_or_refused(book: Book) -> None:
    with duckdb.connect() as connection:
        rows = connection.execute(
            "SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_type IN ('table', 'table_macro')"
        ).fetchall()
        names = {name for (name,) in rows}
        assert {"range", "unnest"} <= names
        for name in names - TABLE_FUNCTIONS:
            with pytest.raises(fl.QueryError, match=rf"calls {name}\(\)"):
                parsed(connection, f"SELECT * FROM {name}(1)")
        for name in names & TABLE_FUNCTIONS:
            parsed(connection, f"SELECT * FROM {name}(1)")


def test_one_query_is_serialised_once(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    from finlab_nb.query.frames import parsing

    calls: list[str] = []
    tree = parsing._tree

    def counted(connection: duckdb.DuckDBPyConnection, query: str, *, explained: bool) -> Any:
        calls.append(query)
        return tree(connection, query, explained=explained)

    monkeypatch.setattr(parsing, "_tree", counted)
    own = pd.DataFrame({"x": [1]})
    assert len(book.lab.sql("SELECT * FROM own JOIN trades ON trade_id = x")) == len(own)
    assert len(calls) == 1
