-- Schema 1: strategies, their iterations (one stored backtest each) and everything an iteration leaves behind.
--
-- A date exists if date() gives it back when it is made to compute by a shift.
-- Times are UTC in ISO 8601 text; fractions are fractions, not percent; NULL means unknown.
-- CHECKs guard against other programs that write here: finlab_nb itself validates before it writes. A CHECK, not NOT
-- NULL, guards what files of the original layer can lack: their rows are adopted with the CHECKs off.

CREATE TABLE store_state (
    only_row        INTEGER PRIMARY KEY CHECK (only_row = 1),
    generation      TEXT NOT NULL,                -- new with every restore: caches of another generation never count
    change_counter  INTEGER NOT NULL DEFAULT 0    -- transactions that finlab_nb has committed
);
INSERT INTO store_state (only_row, generation) VALUES (1, lower(hex(randomblob(8))));

-- Which rows of the tables below were changed or removed after they were appended: rows are grouped in
-- buckets of 1024 rowids, and a changed bucket gets a new random stamp. A copy of a bucket that was
-- made under another stamp is stale. The triggers of `store.triggers` keep this table, for every program that writes.
CREATE TABLE edited_rows (
    table_name  TEXT NOT NULL,
    bucket      INTEGER NOT NULL,
    stamp       INTEGER NOT NULL,
    PRIMARY KEY (table_name, bucket)
);

CREATE TABLE strategies (
    strategy_id         TEXT PRIMARY KEY NOT NULL CHECK (strategy_id <> ''),
    name                TEXT NOT NULL CHECK (name <> ''),
    code                TEXT NOT NULL,
    parameters          JSON CHECK (parameters IS NULL OR json_type(parameters) = 'object'),
    created_at          TEXT DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ')) CHECK (
        julianday(created_at) IS NOT NULL AND date(substr(created_at, 1, 10), '+0 days') IS substr(created_at, 1, 10)),
    parent_strategy_id  TEXT REFERENCES strategies (strategy_id)
);
CREATE INDEX strategies_by_name ON strategies (name);
CREATE INDEX strategies_by_parent ON strategies (parent_strategy_id) WHERE parent_strategy_id IS NOT NULL;

CREATE TABLE iterations (
    iteration_id      TEXT PRIMARY KEY NOT NULL CHECK (iteration_id <> ''),
    strategy_id       TEXT NOT NULL REFERENCES strategies (strategy_id),
    iteration_number  INTEGER NOT NULL CHECK (typeof(iteration_number) = 'integer' AND iteration_number >= 1),
    code              TEXT NOT NULL,
    timestamp         TEXT DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ')) CHECK (
        julianday(timestamp) IS NOT NULL AND date(substr(timestamp, 1, 10), '+0 days') IS substr(timestamp, 1, 10)),
    parameters        JSON CHECK (parameters IS NULL OR json_type(parameters) = 'object'),
    note              TEXT,
    starred           INTEGER NOT NULL DEFAULT 0 CHECK (starred IN (0, 1)),
    archived          INTEGER NOT NULL DEFAULT 0 CHECK (archived IN (0, 1)),
    UNIQUE (strategy_id, iteration_number)
);
CREATE INDEX iterations_by_timestamp ON iterations (timestamp);

CREATE TABLE metrics (
    metric_id          INTEGER PRIMARY KEY AUTOINCREMENT,
    iteration_id       TEXT NOT NULL UNIQUE REFERENCES iterations (iteration_id) ON DELETE CASCADE,
    annualized_return  REAL CHECK (typeof(annualized_return) IN ('real', 'null')),
    sharpe_ratio       REAL CHECK (typeof(sharpe_ratio) IN ('real', 'null')),
    max_drawdown       REAL CHECK (max_drawdown IS NULL OR (typeof(max_drawdown) = 'real' AND max_drawdown <= 0)),
    win_rate           REAL CHECK (win_rate IS NULL OR (typeof(win_rate) = 'real' AND win_rate BETWEEN 0 AND 1)),
    total_trades       INTEGER CHECK (total_trades IS NULL OR (typeof(total_trades) = 'integer' AND total_trades >= 0))
);

CREATE TABLE extra_metrics (
    iteration_id  TEXT NOT NULL REFERENCES iterations (iteration_id) ON DELETE CASCADE,
    name          TEXT NOT NULL CHECK (name <> ''),
    value         REAL CHECK (typeof(value) IN ('real', 'null')),
    PRIMARY KEY (iteration_id, name)
);

CREATE TABLE suggestions (
    suggestion_id         INTEGER PRIMARY KEY AUTOINCREMENT,
    iteration_id          TEXT NOT NULL REFERENCES iterations (iteration_id) ON DELETE CASCADE,
    priority              TEXT CHECK (priority IS NOT NULL AND priority IN ('high', 'medium', 'low')),
    description           TEXT NOT NULL CHECK (description <> ''),
    specific_changes      TEXT,
    expected_impact       TEXT,
    rationale             TEXT,
    learning_references   JSON CHECK (learning_references IS NULL OR json_type(learning_references) = 'array'),
    status                TEXT NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'applied', 'rejected')),
    applied_iteration_id  TEXT REFERENCES iterations (iteration_id) ON DELETE SET NULL
);
CREATE INDEX suggestions_by_iteration ON suggestions (iteration_id);
CREATE INDEX suggestions_by_applied ON suggestions (applied_iteration_id) WHERE applied_iteration_id IS NOT NULL;

CREATE TABLE trades (
    trade_id       INTEGER PRIMARY KEY AUTOINCREMENT,
    iteration_id   TEXT NOT NULL REFERENCES iterations (iteration_id) ON DELETE CASCADE,
    stock_code     TEXT NOT NULL CHECK (stock_code <> ''),
    entry_date     TEXT CHECK (entry_date IS NULL OR date(substr(entry_date, 1, 10), '+0 days') IS substr(entry_date, 1, 10)),
    exit_date      TEXT CHECK (exit_date IS NULL OR date(substr(exit_date, 1, 10), '+0 days') IS substr(exit_date, 1, 10)),
    entry_price    REAL CHECK (typeof(entry_price) IN ('real', 'null')),
    exit_price     REAL CHECK (typeof(exit_price) IN ('real', 'null')),
    position_size  REAL CHECK (typeof(position_size) IN ('real', 'null')),
    profit_loss    REAL CHECK (typeof(profit_loss) IN ('real', 'null')),
    CHECK (exit_date IS NULL OR substr(exit_date, 1, 10) >= substr(entry_date, 1, 10))
);
CREATE INDEX trades_by_iteration ON trades (iteration_id);

CREATE TABLE equity (
    equity_id     INTEGER PRIMARY KEY AUTOINCREMENT,
    iteration_id  TEXT NOT NULL REFERENCES iterations (iteration_id) ON DELETE CASCADE,
    date          TEXT NOT NULL CHECK (date(substr(date, 1, 10), '+0 days') IS substr(date, 1, 10)),
    equity        REAL NOT NULL CHECK (typeof(equity) = 'real')
);
CREATE INDEX equity_by_iteration ON equity (iteration_id);

CREATE TABLE tags (
    iteration_id  TEXT NOT NULL REFERENCES iterations (iteration_id) ON DELETE CASCADE,
    tag           TEXT NOT NULL CHECK (tag <> ''),
    PRIMARY KEY (iteration_id, tag)
);
CREATE INDEX tags_by_tag ON tags (tag);
