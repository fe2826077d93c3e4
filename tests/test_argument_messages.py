"""Every argument of every public call is checked: a wrong one is named, with its value and what is allowed."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

import finlab_nb as fl
from finlab_nb.query.tables import TABLES

TEXT: Final = "it must be text"
FILLED: Final = "it must be text that is not empty"
TEXTS: Final = "it must be text, or a list of texts"
FLAG: Final = "it must be True or False"
DATE: Final = "it must be a date, such as '2024-01-31', or a moment"
FILE: Final = "it must be the path of a file"
FOLDER: Final = "it must be the path of a folder"
VIEWS: Final = f"it must be {', '.join(map(repr, TABLES))} or 'results'"
STATES: Final = "it must be 'open', 'applied' or 'rejected'"

# The call, the argument, a value that it does not take, and the message behind the argument's name.
WRONG: Final[list[tuple[str, str, Any, str]]] = [
    ("Lab", "db_path", 5, f" is 5 (int); {FILE}"),
    ("Lab", "db_path", "", f" is ''; {FILE}"),
    ("Lab", "db_path", b"a.db", f" is b'a.db' (bytes); {FILE}"),
    ("Lab", "cache_dir", ["a"], f" is ['a'] (list); {FOLDER}"),
    ("Lab", "cache_dir", "a\0b", f" is 'a\\x00b'; {FOLDER}"),
    ("Lab", "pool_size", 0, " is 0; it must be a whole number of at least 1"),
    ("Lab", "timeout", -1, " is -1; it must be a number of seconds, 0 or more"),
    ("Lab.record", "result", 5, " is 5 (int); it must be what one of these engines hands back, or a list of such"),
    ("Lab.record", "strategy", "", f" is ''; {FILLED}"),
    ("Lab.record", "parameters", "x", " is 'x' (str); it must be a dict of names and values"),
    ("Lab.record", "code", 5, " is 5 (int); it must be text, or a class or function whose source Python can find"),
    ("Lab.record", "ticker", 2330, f" is 2330 (int); {FILLED}"),
    ("Lab.record", "initial_capital", 0, " is 0; it must be a finite number above 0"),
    ("Lab.record", "timezone", "Taipei", " is 'Taipei'; it must be the IANA name of a time zone"),
    ("Lab.record", "prices", 5, " is 5 (int); it must be a DataFrame by date with a column a stock, a Series, or text"),
    ("Lab.record", "engine", "jess", " is 'jess'; it must be one of vectorbt, "),
    ("Lab.record", "note", 5, f" is 5 (int); {TEXT}"),
    ("Lab.record", "tags", [""], f"[0] is ''; {FILLED}"),
    ("Lab.record", "check", "no", f" is 'no' (str); {FLAG}"),
    ("Lab.preview", "result", 5, " is 5 (int); it must be what one of these engines hands back, or a list of such"),
    ("Lab.preview", "strategy", "", f" is ''; {FILLED}"),
    ("Lab.preview", "parameters", "x", " is 'x' (str); it must be a dict of names and values"),
    ("Lab.preview", "code", 5, " is 5 (int); it must be text, or a class or function whose source Python can find"),
    ("Lab.preview", "ticker", 2330, f" is 2330 (int); {FILLED}"),
    ("Lab.preview", "initial_capital", 0, " is 0; it must be a finite number above 0"),
    ("Lab.preview", "timezone", "Taipei", " is 'Taipei'; it must be the IANA name of a time zone"),
    (
        "Lab.preview",
        "prices",
        5,
        " is 5 (int); it must be a DataFrame by date with a column a stock, a Series, or text",
    ),
    ("Lab.preview", "engine", "jess", " is 'jess'; it must be one of vectorbt, "),
    ("Lab.preview", "note", 5, f" is 5 (int); {TEXT}"),
    ("Lab.preview", "tags", [""], f"[0] is ''; {FILLED}"),
    ("Lab.preview", "check", "no", f" is 'no' (str); {FLAG}"),
    ("Lab.record", "again", 1, f" is 1 (int); {FLAG}"),
    ("Lab.preview_frames", "strategy", 5, " is 5 (int); it must be text, a table, or the path of a CSV file"),
    ("Lab.preview_frames", "trades", 5, " is 5 (int); it must be a table, or the path of a CSV file"),
    ("Lab.record_frames", "strategy", 5, " is 5 (int); it must be text, a table, or the path of a CSV file"),
    ("Lab.record_frames", "trades", 5, " is 5 (int); it must be a table, or the path of a CSV file"),
    ("Lab.record_frames", "fills", 5, " is 5 (int); it must be a table, or the path of a CSV file"),
    ("Lab.record_frames", "orders", 5, " is 5 (int); it must be a table, or the path of a CSV file"),
    ("Lab.record_frames", "equity", 5, " is 5 (int); it must be a table, or a list of records"),
    ("Lab.record_frames", "returns", 5, " is 5 (int); it must be a table, or a list of records"),
    ("Lab.record_frames", "columns", ["a"], " is ['a'] (list); it must be a dict"),
    ("Lab.record_frames", "parameters", 5, " is 5 (int); it must be a dict of names and values"),
    (
        "Lab.record_frames",
        "code",
        5,
        " is 5 (int); it must be text, or a class or function whose source Python can find",
    ),
    ("Lab.record_frames", "ticker", 2330, f" is 2330 (int); {FILLED}"),
    (
        "Lab.record_frames",
        "prices",
        5,
        " is 5 (int); it must be a DataFrame by date with a column a stock, a Series, or text",
    ),
    ("Lab.record_frames", "engine", "", f" is ''; {FILLED}"),
    ("Lab.record_frames", "metrics", 5, " is 5 (int); it must be a dict"),
    ("Lab.record_frames", "extra_metrics", 5, " is 5 (int); it must be a dict"),
    ("Lab.record_frames", "initial_capital", 0, " is 0; it must be a finite number above 0"),
    ("Lab.record_frames", "timezone", "Taipei", " is 'Taipei'; it must be the IANA name of a time zone"),
    ("Lab.record_frames", "currency", " ", f" is ' '; {FILLED}"),
    ("Lab.record_frames", "periods_per_year", -1, " is -1; it must be a finite number above 0"),
    ("Lab.record_frames", "note", 5, f" is 5 (int); {TEXT}"),
    ("Lab.record_frames", "tags", ["a", 5], f"[1] is 5 (int); {FILLED}"),
    ("Lab.record_frames", "check", "no", f" is 'no' (str); {FLAG}"),
    ("Lab.record_frames", "again", 1, f" is 1 (int); {FLAG}"),
    ("Lab.iterations", "strategy", 5, f" is 5 (int); {FILLED}"),
    ("Lab.iterations", "strategy", "", f" is ''; {FILLED}"),
    ("Lab.iterations", "tags", 5, f" is 5 (int); {TEXTS}"),
    ("Lab.iterations", "tags", {"a": 1}, f" is {{'a': 1}} (dict); {TEXTS}"),
    ("Lab.iterations", "tags", ["a", ""], f"[1] is ''; {FILLED}"),
    ("Lab.iterations", "starred", 1, f" is 1 (int); {FLAG}"),
    ("Lab.iterations", "archived", "no", f" is 'no' (str); {FLAG}"),
    ("Lab.iterations", "where", "  ", f" is '  '; {FILLED}"),
    ("Lab.iterations", "where", ["a"], f" is ['a'] (list); {FILLED}"),
    ("Lab.iterations", "order_by", [1], f"[0] is 1 (int); {FILLED}"),
    ("Lab.iterations", "limit", True, " is True (bool); it must be a whole number of at least 0"),
    ("Lab.iterations", "limit", 1.5, " is 1.5; it must be a whole number of at least 0"),
    ("Lab.iterations", "limit", "3", " is '3' (str); it must be a whole number of at least 0"),
    ("Lab.iterations", "limit", float("nan"), " is nan; it must be a whole number of at least 0"),
    ("Lab.iterations", "limit", float("inf"), " is inf; it must be a whole number of at least 0"),
    ("Lab.iterations", "limit", np.float64(2**63), " is np.float64(9.223372036854776e+18); it must be a whole number"),
    ("Lab.best", "n", 0, " is 0; it must be a whole number of at least 1"),
    ("Lab.best", "by", 5, f" is 5 (int); {FILLED}"),
    ("Lab.best", "lowest", "yes", f" is 'yes' (str); {FLAG}"),
    ("Lab.best", "strategy", ["a"], f" is ['a'] (list); {FILLED}"),
    ("Lab.best", "archived", "no", f" is 'no' (str); {FLAG}"),
    ("Lab.best", "where", 5, f" is 5 (int); {FILLED}"),
    ("Lab.progress", "strategy", None, f" is None (NoneType); {FILLED}"),
    ("Lab.progress", "by", None, f" is None (NoneType); {FILLED}"),
    ("Lab.progress", "lowest", 0, f" is 0 (int); {FLAG}"),
    ("Lab.metrics", "iterations", [5], f"[0] is 5 (int); {FILLED}"),
    ("Lab.metrics", "long", 1, f" is 1 (int); {FLAG}"),
    ("Lab.suggestions", "iterations", b"a", f" is b'a' (bytes); {TEXTS}"),
    ("Lab.suggestions", "status", "done", f" is 'done'; {STATES}"),
    ("Lab.trades", "iterations", 5, f" is 5 (int); {TEXTS}"),
    ("Lab.trades", "iterations", [None], f"[0] is None (NoneType); {FILLED}"),
    ("Lab.trades", "iterations", ["a", 7], f"[1] is 7 (int); {FILLED}"),
    ("Lab.trades", "columns", [5], f"[0] is 5 (int); {FILLED}"),
    ("Lab.trades", "stocks", [2330], f"[0] is 2330 (int); {FILLED}"),
    ("Lab.trades", "stocks", {"2330": 1}, f" is {{'2330': 1}} (dict); {TEXTS}"),
    ("Lab.trades", "since", "yesterday", f" is 'yesterday'; {DATE}"),
    ("Lab.trades", "until", 20240101, f" is 20240101 (int); {DATE}"),
    ("Lab.by_stock", "iterations", [b"a"], f"[0] is b'a' (bytes); {FILLED}"),
    ("Lab.by_stock", "per_iteration", None, f" is None (NoneType); {FLAG}"),
    ("Lab.by_period", "iterations", "", f" is ''; {FILLED}"),
    ("Lab.by_period", "period", "decade", " is 'decade'; it must be 'day', 'week', 'month', 'quarter' or 'year'"),
    ("Lab.by_period", "period", 5, " is 5 (int); it must be 'day', 'week', 'month', 'quarter' or 'year'"),
    ("Lab.by_period", "per_iteration", 1.0, f" is 1.0 (float); {FLAG}"),
    ("Lab.equity", "iterations", [float("nan")], f"[0] is nan (float); {FILLED}"),
    ("Lab.series", "name", "", f" is ''; {FILLED}"),
    ("Lab.returns", "iterations", 1.5, f" is 1.5 (float); {TEXTS}"),
    ("Lab.sql", "query", 5, f" is 5 (int); {FILLED}"),
    ("Lab.sql", "params", "x", " is 'x' (str); it must be a list for ?, or a dict for $name"),
    ("Lab.sql", "frames", [1], " is [1] (list); it must be a dict of names and DataFrames"),
    ("Lab.sql", "to", "numpy", " is 'numpy'; it must be 'pandas', 'arrow', 'polars' or 'stream'"),
    ("Lab.export_frames", "directory", 5, f" is 5 (int); {FOLDER}"),
    ("Lab.export_frames", "tables", "orders", f" is 'orders'; {VIEWS}"),
    ("Lab.export_frames", "tables", [1], f"[0] is 1 (int); {FILLED}"),
    ("Lab.export_frames", "format", "pickle", " is 'pickle'; it must be 'parquet', "),
    ("Lab.export_frames", "where", "", f" is ''; {FILLED}"),
    ("Lab.export_frames", "partition_by", "month", " is 'month'; it must be 'strategy'"),
    ("Lab.export_frames", "progress", 1, f" is 1 (int); {FLAG}"),
    ("StorageManager", "db_path", None, f" is None (NoneType); {FILE}"),
    ("StorageManager", "pool_size", True, " is True (bool); it must be a whole number of at least 1"),
    ("StorageManager", "pool_size", 2.5, " is 2.5; it must be a whole number of at least 1"),
    ("StorageManager", "timeout", "5", " is '5' (str); it must be a number of seconds, 0 or more"),
    ("StorageManager", "timeout", float("nan"), " is nan; it must be a number of seconds, 0 or more"),
    ("StorageManager.save_strategy_version", "name", " ", f" is ' '; {FILLED}"),
    ("StorageManager.save_strategy_version", "code", None, f" is None (NoneType); {TEXT}"),
    ("StorageManager.save_strategy_version", "parameters", [1], " is [1] (list); it must be a dict of names and"),
    ("StorageManager.save_strategy_version", "parent_strategy_id", "", f" is ''; {FILLED}"),
    ("StorageManager.save_iteration", "strategy_id", 5, f" is 5 (int); {FILLED}"),
    ("StorageManager.save_iteration", "iteration_number", 0, " is 0; it must be a whole number of at least 1"),
    ("StorageManager.save_iteration", "code", b"x", f" is b'x' (bytes); {TEXT}"),
    ("StorageManager.save_iteration", "metrics", 5, " is 5 (int); it must be a dict or Series of names and numbers"),
    ("StorageManager.save_iteration", "trades", 5, " is 5 (int); it must be a table, or a list of records"),
    ("StorageManager.save_iteration", "suggestions", {"a": 1}, " is {'a': 1} (dict); it must be a list"),
    ("StorageManager.save_iteration", "equity", "x", " is 'x' (str); it must be a table, or a list of records"),
    ("StorageManager.save_iteration", "parameters", "x", " is 'x' (str); it must be a dict of names and values"),
    (
        "StorageManager.save_iteration",
        "extra_metrics",
        [1],
        " is [1] (list); it must be a dict or Series of names and numbers",
    ),
    ("StorageManager.save_iteration", "tags", b"a", f" is b'a' (bytes); {TEXTS}"),
    ("StorageManager.save_iteration", "tags", ["a", 5], f"[1] is 5 (int); {FILLED}"),
    ("StorageManager.save_iteration", "note", 5, f" is 5 (int); {TEXT}"),
    ("StorageManager.save_iteration", "timestamp", 5, " is 5 (int); it must be a datetime or ISO 8601 text"),
    ("StorageManager.save_iteration", "returns", 5, " is 5 (int); it must be a table, or a list of records"),
    ("StorageManager.save_iteration", "initial_capital", 0, " is 0; it must be a finite number above 0"),
    ("StorageManager.save_iteration", "initial_capital", "1", " is '1' (str); it must be a finite number"),
    ("StorageManager.save_iteration", "timezone", "Taipei", " is 'Taipei'; it must be the IANA name of a time zone"),
    ("StorageManager.save_iteration", "timezone", 8, " is 8 (int); it must be the IANA name of a time zone"),
    ("StorageManager.save_iteration", "periods_per_year", -1, " is -1; it must be a finite number above 0"),
    ("StorageManager.save_iteration", "currency", " ", f" is ' '; {FILLED}"),
    ("StorageManager.save_iteration", "currency", 5, f" is 5 (int); {FILLED}"),
    ("StorageManager.save_iteration", "provenance", 5, " is 5 (int); it must be a dict of what is known of the origin"),
    ("StorageManager.record_iterations", "recordings", 5, " is 5 (int); it must be a list of Recording"),
    ("StorageManager.record_iterations", "recordings", ["a"], "[0] is 'a' (str); it must be a Recording"),
    ("StorageManager.record_iterations", "again", 1, f" is 1 (int); {FLAG}"),
    ("StorageManager.save_series", "name", "", f" is ''; {FILLED}"),
    ("StorageManager.save_series", "series", 5, " is 5 (int); it must be a table, or a list of records"),
    ("StorageManager.save_series", "timezone", "Taipei", " is 'Taipei'; it must be the IANA name of a time zone"),
    ("StorageManager.save_series", "source", 5, f" is 5 (int); {TEXT}"),
    ("StorageManager.delete_series", "name", 5, f" is 5 (int); {FILLED}"),
    ("StorageManager.save_iteration", "strict", 1, " is 1 (int); it must be True or False"),
    ("StorageManager.save_iteration", "applies", ["1"], "[0] is '1' (str); it must be a whole number of at least 1"),
    ("StorageManager.save_iterations", "iterations", {"a": 1}, " is {'a': 1} (dict); it must be a list of dicts"),
    ("StorageManager.save_iterations", "iterations", ["a"], "[0] is 'a' (str); it must be a dict of the arguments of"),
    ("StorageManager.load_strategy", "strategy_id", None, f" is None (NoneType); {FILLED}"),
    ("StorageManager.find_strategies", "name", "", f" is ''; {FILLED}"),
    ("StorageManager.search_strategies", "words", ["a"], f" is ['a'] (list); {FILLED}"),
    ("StorageManager.search_strategies", "limit", 0.5, " is 0.5; it must be a whole number of at least 1"),
    ("StorageManager.lineage", "strategy_id", ["a"], f" is ['a'] (list); {FILLED}"),
    ("StorageManager.load_iteration", "iteration_id", None, f" is None (NoneType); {FILLED}"),
    ("StorageManager.load_iteration", "iteration_id", ["a"], f" is ['a'] (list); {FILLED}"),
    ("StorageManager.load_iteration", "iteration_id", "\ud800", " is '\\ud800'; it must be Unicode text"),
    ("StorageManager.load_strategy_history", "strategy_id", 5, f" is 5 (int); {FILLED}"),
    ("StorageManager.annotate", "iteration_id", b"a", f" is b'a' (bytes); {FILLED}"),
    ("StorageManager.annotate", "note", 5, f" is 5 (int); {TEXT}"),
    ("StorageManager.annotate", "starred", "yes", f" is 'yes' (str); {FLAG}"),
    ("StorageManager.annotate", "archived", 0, f" is 0 (int); {FLAG}"),
    ("StorageManager.annotate", "add_tags", [""], f"[0] is ''; {FILLED}"),
    ("StorageManager.annotate", "remove_tags", {"a": 1}, f" is {{'a': 1}} (dict); {TEXTS}"),
    ("StorageManager.set_suggestion_status", "suggestion_id", "1", " is '1' (str); it must be a whole number"),
    ("StorageManager.set_suggestion_status", "status", "done", f" is 'done'; {STATES}"),
    ("StorageManager.set_suggestion_status", "applied_iteration_id", 5, f" is 5 (int); {FILLED}"),
    ("StorageManager.set_suggestion_status", "applied_iteration_id", "a", " is 'a'; it must be None unless the status"),
    ("StorageManager.delete_iteration", "iteration_id", "", f" is ''; {FILLED}"),
    ("StorageManager.delete_strategy", "strategy_id", None, f" is None (NoneType); {FILLED}"),
    ("StorageManager.delete_strategy", "cascade", 1, f" is 1 (int); {FLAG}"),
    ("StorageManager.export_results", "iteration_ids", None, f" is None (NoneType); {TEXTS}"),
    ("StorageManager.export_results", "iteration_ids", [1], f"[0] is 1 (int); {FILLED}"),
    ("StorageManager.export_results", "path", 3, f" is 3 (int); {FILE}"),
    ("StorageManager.export_results", "path", "a.csv", " is 'a.csv'; it must be a file whose name ends in .json, "),
    ("StorageManager.export_results", "progress", "no", f" is 'no' (str); {FLAG}"),
    ("StorageManager.import_results", "path", None, f" is None (NoneType); {FILE}"),
    ("StorageManager.import_results", "mode", "replace", " is 'replace'; it must be 'copy' or 'merge'"),
    ("StorageManager.import_results", "deleted", "all", " is 'all'; it must be 'apply', 'keep' or 'revive'"),
    ("StorageManager.import_results", "progress", None, f" is None (NoneType); {FLAG}"),
    ("StorageManager.snapshot", "path", 3, f" is 3 (int); {FILE}"),
    ("StorageManager.snapshot", "overwrite", 1, f" is 1 (int); {FLAG}"),
    ("StorageManager.compact", "progress", "no", f" is 'no' (str); {FLAG}"),
    ("StorageManager.check", "limit", 0, " is 0; it must be a whole number of at least 1"),
    ("BackupScheduler", "db_path", 5, f" is 5 (int); {FILE}"),
    ("BackupScheduler", "backup_dir", None, f" is None (NoneType); {FOLDER}"),
    ("BackupScheduler", "retention_days", "30", " is '30' (str); it must be a number of days, 0 or more"),
    ("BackupScheduler", "retention_days", float("inf"), " is inf; it must be a number of days, 0 or more"),
    ("BackupScheduler", "keep", 0, " is 0; it must be a whole number of at least 1"),
    ("BackupScheduler", "keep_hourly", -1, " is -1; it must be a whole number of at least 0"),
    ("BackupScheduler", "keep_daily", None, " is None (NoneType); it must be a whole number of at least 0"),
    ("BackupScheduler", "keep_weekly", 1.5, " is 1.5; it must be a whole number of at least 0"),
    ("BackupScheduler", "keep_monthly", True, " is True (bool); it must be a whole number of at least 0"),
    ("BackupScheduler.start_daily_backups", "hour", 24, " is 24; it must be a whole number from 0 to 23"),
    ("BackupScheduler.start_daily_backups", "minute", "5", " is '5' (str); it must be a whole number from 0 to 59"),
    ("BackupScheduler.start_daily_backups", "timezone", "Mars", " is 'Mars'; it must be a name such as 'UTC' or"),
    ("BackupScheduler.start_daily_backups", "timezone", 3, " is 3 (int); it must be a name such as 'UTC' or"),
    ("BackupScheduler.start_daily_backups", "compress", "zst", f" is 'zst' (str); {FLAG}"),
    ("BackupScheduler.backup_now", "compress", 1, f" is 1 (int); {FLAG}"),
    ("BackupScheduler.cleanup_old_backups", "force", 1, f" is 1 (int); {FLAG}"),
    ("BackupScheduler.verify_backup", "path", 5, f" is 5 (int); {FILE}"),
    ("restore_backup", "backup_path", None, f" is None (NoneType); {FILE}"),
    ("restore_backup", "db_path", b"a.db", f" is b'a.db' (bytes); {FILE}"),
    ("restore_backup", "force", "yes", f" is 'yes' (str); {FLAG}"),
]
OWNERS: Final[list[type]] = [fl.Lab, fl.StorageManager, fl.BackupScheduler]


def _arguments(call: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    given = inspect.signature(call).parameters.items()
    return {name: one for name, one in given if name != "self" and one.kind is not one.VAR_KEYWORD}


def _public_calls() -> dict[str, Callable[..., Any]]:
    calls: dict[str, Callable[..., Any]] = {"restore_backup": fl.restore_backup}
    for owner in OWNERS:
        calls[owner.__name__] = owner
        methods = {name: one for name, one in inspect.getmembers(owner, inspect.isfunction) if name[0] != "_"}
        calls.update({f"{owner.__name__}.{name}": method for name, method in methods.items()})
    return calls


CALLS: Final = _public_calls()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[fl.Lab]:
    """Return a lab with one strategy and one iteration, which no test changes."""
    with fl.Lab(tmp_path_factory.mktemp("arguments") / "lab.db") as opened:
        strategy = opened.store.save_strategy_version("momentum", "signal = ...")
        opened.store.save_iteration(strategy, suggestions=[{"priority": "high", "description": "try 90"}])
        yield opened


@pytest.fixture
def ask(lab: fl.Lab, tmp_path: Path) -> Callable[[str, dict[str, Any]], Any]:
    """Return what makes a call of a public name with valid arguments, but for those given."""
    row = lab.iterations().iloc[0]
    valid = {
        "strategy": "momentum",
        "strategy_id": row["strategy_id"],
        "iteration_id": row["iteration_id"],
        "iteration_ids": [row["iteration_id"]],
        "iterations": [],
        "recordings": [],
        "suggestion_id": 1,
        "status": "open",
        "name": "momentum",
        "code": "signal = ...",
        "words": "signal",
        "query": "SELECT 1",
        "view": "trades",
        "series": {"2024-01-02": 1.0},
        "result": {"metrics": {}, "trades": [], "equity_curve": [], "hyperparameters": {}},  # as jesse has it
        "path": tmp_path / "iterations.json",
        "directory": tmp_path / "folder",
        "backup_dir": tmp_path / "backups",
        "backup_path": tmp_path / "backup.db",
        "db_path": tmp_path / "new.db",
    }
    owners = {
        "Lab": lab,
        "StorageManager": lab.store,
        "BackupScheduler": fl.BackupScheduler(lab.store.path, tmp_path / "backups"),
    }

    def call(name: str, given: dict[str, Any]) -> Any:
        owner, _, method = name.partition(".")
        called = getattr(owners[owner], method) if method else getattr(fl, owner)
        needed = [name for name, one in _arguments(CALLS[name]).items() if one.default is one.empty]
        return called(**({one: valid[one] for one in needed} | given))

    return call


@pytest.mark.parametrize(("call", "argument", "value", "message"), WRONG)
def test_a_wrong_argument_is_named_with_its_value_and_what_is_allowed(
    ask: Callable[[str, dict[str, Any]], Any], tmp_path: Path, call: str, argument: str, value: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(argument + message)}") as raised:
        ask(call, {argument: value})
    assert re.match(rf"{argument}(\[\d+\])? is .+; it must be .+", str(raised.value))
    assert list(tmp_path.iterdir()) == []


def test_the_table_holds_every_argument_of_every_public_call() -> None:
    every = {(name, argument) for name, call in CALLS.items() for argument in _arguments(call)}
    assert {(call, argument) for call, argument, _, _ in WRONG} == every


@pytest.mark.parametrize("number", [3, 3.0, np.int64(3), np.float64(3)])
def test_a_whole_number_counts_in_every_form(lab: fl.Lab, tmp_path: Path, number: Any) -> None:
    with fl.StorageManager(":memory:", pool_size=number) as store:
        strategy = store.save_strategy_version("momentum", "signal = ...")
        assert store.load_iteration(store.save_iteration(strategy, number))["iteration_number"] == 3
        suggestions = [{"priority": "high", "description": str(place)} for place in range(3)]
        iteration = store.save_iteration(strategy, suggestions=suggestions)
        store.set_suggestion_status(number, "rejected")
        assert [one["status"] for one in store.load_iteration(iteration)["suggestions"]] == ["open", "open", "rejected"]
        store.save_iteration(strategy, applies=[number])
        for place in range(4):
            store.save_strategy_version(f"{place}", "signal = ...")
        assert len(store.search_strategies("signal", limit=number)) == 3
        assert store.check(limit=number) == []
    assert len(lab.iterations(limit=number)) == 1
    assert lab.best(number).empty
    with fl.BackupScheduler(lab.store.path, tmp_path / "backups", number, keep_daily=number) as scheduler:
        scheduler.start_daily_backups(number, number)
        schedule = scheduler.get_backup_info()["schedule"]
    assert (schedule["hour"], schedule["minute"]) == (3, 3)


def test_a_single_text_is_a_list_of_one(tmp_path: Path) -> None:
    trade = {"stock_code": "2330", "entry_date": "2024-01-02", "entry_price": 1.0, "position_size": 1}
    with fl.Lab(":memory:") as lab:
        strategy = lab.store.save_strategy_version("momentum", "signal = ...")
        first = lab.store.save_iteration(strategy, tags="abc", trades=[trade], equity={"2024-01-02": 1.0})
        lab.store.save_iteration(strategy)
        assert lab.store.load_iteration(first)["tags"] == ["abc"]
        assert lab.iterations(tags="abc")["iteration_id"].tolist() == [first]
        assert lab.iterations(order_by="iteration_number desc")["iteration_number"].tolist() == [2, 1]
        assert len(lab.trades(first, stocks="2330")) == len(lab.by_stock(first)) == len(lab.metrics(first)) == 1
        assert lab.equity(first).columns.tolist() == [first]
        lab.store.annotate(first, remove_tags="abc", add_tags="def")
        assert lab.store.load_iteration(first)["tags"] == ["def"]
        lab.store.export_results(first, tmp_path / "one.json")
        assert lab.store.import_results(tmp_path / "one.json", mode="merge") == [first]
        assert [path.name for path in lab.export_frames(tmp_path, "trades")] == ["trades.parquet"]


def test_flags_of_numpy_and_dates_of_every_kind_are_taken(lab: fl.Lab) -> None:
    assert len(lab.iterations(starred=np.False_)) == 1
    assert lab.metrics(long=np.True_)["name"].nunique() == 5
    for day in ("2024-01-02", date(2024, 1, 2), datetime(2024, 1, 2, tzinfo=UTC), np.datetime64("2024-01-02")):
        assert lab.trades(since=day, until=day).empty


def test_a_user_that_does_not_exist_has_no_folder() -> None:
    with pytest.raises(ValueError, match=re.escape("db_path is '~nobody_here/a.db'; it must be the path of a file (")):
        fl.Lab("~nobody_here/a.db")


def test_a_selection_of_the_explorer_is_a_text_or_a_list_of_texts(lab: fl.Lab) -> None:
    explorer = lab.explore()
    (iteration,) = lab.iterations()["iteration_id"]
    explorer.selected = []
    explorer.selected = iteration
    assert explorer.selected == [iteration]
    for wrong, message in ((5, "selected is 5 (int); it must be text, or a list"), ([5], "selected[0] is 5 (int); it")):
        with pytest.raises(ValueError, match=re.escape(message)):
            explorer.selected = wrong
    assert explorer.selected == [iteration]
    explorer.close()
