"""What a query is, decided on what DuckDB itself parsed: one question that only answers, and what it reads."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Final

import duckdb

from finlab_nb.errors import QueryError

_SERIALIZED: Final = "SELECT json_serialize_sql($query::VARCHAR)"
_EXPLAIN: Final = "EXPLAIN"
# DuckDB 2 has others, which change tables inside a SELECT.
_NODES: Final = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"})
_CATALOGS: Final = frozenset({"", "memory", "system"})
_SCHEMAS: Final = frozenset({"", "main", "information_schema", "pg_catalog"})
_OF_PATHS: Final = frozenset("./\\:*?")
# All others open files, take addresses of memory, run text as SQL, tell of the machine or change the engine.
TABLE_FUNCTIONS: Final = frozenset(
    {
        *("duckdb_columns", "duckdb_functions", "duckdb_keywords", "duckdb_schemas", "duckdb_tables", "duckdb_types"),
        *("duckdb_views", "generate_series", "icu_calendar_names", "json_each", "json_tree", "pg_timezone_names"),
        *("range", "repeat", "repeat_row", "summary", "test_all_types", "unnest"),
    }
)
# They change a later answer, write, wait, plan other text, or tell of the machine.
REFUSED_FUNCTIONS: Final = frozenset(
    {
        *("currval", "nextval", "setseed", "setval", "write_log", "sleep_ms", "pg_sleep", "json_serialize_plan"),
        *("current_setting", "getenv"),
    }
)
_REFUSED_VIEWS: Final = frozenset({"duckdb_databases", "duckdb_logs", "pg_settings", "pragma_database_list"})


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a query does.

    Attributes
    ----------
    text
        The query, as it is to be asked.
    read
        The names of the tables, views and frames that it reads, as they are written; some of them may be its own.
    defined
        The names of the tables that it defines by WITH, in lower case.
    """

    text: str
    read: frozenset[str]
    defined: frozenset[str]


def parsed(connection: duckdb.DuckDBPyConnection, query: str, frames: Collection[str] = ()) -> Parsed:
    """Return what a query does.

    Parameters
    ----------
    connection
        Of the engine that will be asked; nothing is run.
    query
        The text.
    frames
        Names that are known to be no files.

    Raises
    ------
    QueryError
        If it is not one SELECT or the plain EXPLAIN of one, or could do more than answer.
    duckdb.Error
        If it cannot be parsed.
    """
    statements = connection.extract_statements(query)
    kinds = [one.type for one in statements]
    if len(kinds) != 1 or kinds[0].name == "MULTI":
        # A PIVOT that has to look up its values is several.
        held, hint = ("several", "; give PIVOT its values with IN (...)") if kinds else ("no", "")
        raise QueryError(f"the query holds {held} statements; it must be one{hint}")
    (kind,) = kinds
    if kind not in (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN):
        raise QueryError(f"the query is a {kind.name} statement; only SELECT is allowed, the store does the writing")
    explained = kind == duckdb.StatementType.EXPLAIN
    select = _behind_explain(query) if explained else query
    read, defined = set[str](), set[str]()
    for node in _objects(_tree(connection, select, explained=explained)):
        _check_node(node)
        if "cte_map" in node:
            defined.update(one["key"].lower() for one in node["cte_map"]["map"])
        if "table_name" in node and node.get("type") in ("BASE_TABLE", "SHOW_REF"):
            read.add(_table(node, frames))
    return Parsed(f"{_EXPLAIN} {select}" if explained else query, frozenset(read - {""}), frozenset(defined))


def _behind_explain(query: str) -> str:
    """Return the query that EXPLAIN is asked for, whose other forms run it."""
    text = query.encode()  # the places of tokens count bytes
    places = [place for place, kind in duckdb.tokenize(query) if kind.name != "comment"]
    return text[places[0] + len(_EXPLAIN) :].decode()


def _tree(connection: duckdb.DuckDBPyConnection, query: str, *, explained: bool) -> Any:
    ((text,),) = connection.execute(_SERIALIZED, {"query": query}).fetchall()
    try:
        tree = json.loads(text)
    except RecursionError as error:
        raise QueryError("the query is nested too deeply") from error
    if tree["error"] and explained:
        raise QueryError(f"EXPLAIN takes one SELECT and no options: {tree['error_message']}")
    if tree["error"]:
        raise QueryError(tree["error_message"])
    return tree["statements"]


def _objects(tree: Any) -> Iterator[dict[str, Any]]:
    """Yield all objects of a tree."""
    waiting = [tree]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            yield one
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)


def _check_node(node: dict[str, Any]) -> None:
    kind = node.get("type")
    if isinstance(kind, str) and kind.endswith("_NODE") and kind not in _NODES:
        raise QueryError(f"the query holds a {kind.partition('_')[0]}; only SELECT is allowed")
    if kind == "TABLE_FUNCTION":
        name = node["function"]["function_name"].lower()
        refused = name not in TABLE_FUNCTIONS
    else:
        name = node.get("function_name", "").lower()
        refused = name in REFUSED_FUNCTIONS
    if refused:
        raise QueryError(f"the query calls {name}(), which is not allowed: it could do more than answer")


def _table(node: dict[str, Any], frames: Collection[str]) -> str:
    catalog, schema, name = (node[one] for one in ("catalog_name", "schema_name", "table_name"))
    if catalog.lower() not in _CATALOGS or schema.lower() not in _SCHEMAS:
        raise QueryError(f"the query reads from {catalog or schema!r}; the views are in the schema main")
    if name.lower() in _REFUSED_VIEWS:
        raise QueryError(f"the query reads {name}, which is not allowed: it tells of the machine")
    # DuckDB would look for a file, even of the name that WITH defines for another part of the query.
    if name.lower() not in frames and not _OF_PATHS.isdisjoint(name):
        raise QueryError(f"the query reads {name!r}; it reads views and DataFrames, and no file")
    return "" if schema.lower() not in ("", "main") else str(name)
