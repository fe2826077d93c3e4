"""Read a snapshot with plain DuckDB, on a machine that need not have finlab_nb.

    finlab-nb snapshot copy.db --db research.db
    python read_snapshot_with_duckdb.py copy.db

Read copies only. Attached in a process that also writes the live file, DuckDB's own SQLite would undo its locks.
DuckDB fetches its sqlite extension when it is used for the first time.
"""

import sys

import duckdb

SNAPSHOT = sys.argv[1] if len(sys.argv) > 1 else "copy.db"

book = duckdb.connect()
path = SNAPSHOT.replace("'", "''")  # ATTACH takes a literal
book.execute(f"ATTACH '{path}' AS book (TYPE sqlite, READ_ONLY)")
print(
    book.sql("""
    SELECT s.name AS strategy, i.iteration_number AS iteration, m.sharpe_ratio, count(*) AS trades,
           sum(t.profit_loss) AS profit
    FROM book.trades t
    JOIN book.iterations i USING (iteration_id)
    JOIN book.strategies s USING (strategy_id)
    JOIN book.metrics m USING (iteration_id)
    GROUP BY ALL ORDER BY sharpe_ratio DESC LIMIT 5
""")
)
print(book.sql("SELECT count(*) AS points, max(date) AS last_day FROM book.curves JOIN book.equity USING (curve_id)"))
