-- Schema 3: what a market and an engine know (zone, currency, capital; fees, excursions, reasons of a trade), curves at
-- a third of their space, series by name, and a smaller search index.

ALTER TABLE trades ADD COLUMN trade_return REAL CHECK (typeof(trade_return) IN ('real', 'null'));
ALTER TABLE trades ADD COLUMN fees REAL CHECK (typeof(fees) IN ('real', 'null'));
ALTER TABLE trades ADD COLUMN mae REAL CHECK (mae IS NULL OR (typeof(mae) = 'real' AND mae <= 0));
ALTER TABLE trades ADD COLUMN mfe REAL CHECK (mfe IS NULL OR (typeof(mfe) = 'real' AND mfe >= 0));
ALTER TABLE trades ADD COLUMN multiplier REAL CHECK (
    multiplier IS NULL OR (typeof(multiplier) = 'real' AND multiplier > 0));
ALTER TABLE trades ADD COLUMN entry_reason TEXT;
ALTER TABLE trades ADD COLUMN exit_reason TEXT;
ALTER TABLE trades ADD COLUMN extra JSON CHECK (extra IS NULL OR json_type(extra) = 'object');

ALTER TABLE iterations ADD COLUMN initial_capital REAL CHECK (
    initial_capital IS NULL OR (typeof(initial_capital) = 'real' AND initial_capital > 0));
ALTER TABLE iterations ADD COLUMN timezone TEXT CHECK (timezone <> '');
ALTER TABLE iterations ADD COLUMN periods_per_year REAL CHECK (
    periods_per_year IS NULL OR (typeof(periods_per_year) = 'real' AND periods_per_year > 0));
ALTER TABLE iterations ADD COLUMN currency TEXT CHECK (currency <> '');
ALTER TABLE iterations ADD COLUMN changed_at TEXT CHECK (changed_at IS NULL OR (
    julianday(changed_at) IS NOT NULL AND date(substr(changed_at, 1, 10), '+0 days') IS substr(changed_at, 1, 10)));
-- Zones are looked up for many rows, and lie behind the code.
CREATE INDEX iterations_by_zone ON iterations (iteration_id, timezone) WHERE timezone IS NOT NULL;

CREATE TABLE given_metrics (
    iteration_id  TEXT NOT NULL REFERENCES iterations (iteration_id) ON DELETE CASCADE,
    name          TEXT NOT NULL CHECK (
        name IN ('annualized_return', 'sharpe_ratio', 'max_drawdown', 'win_rate', 'total_trades')),
    computed      REAL CHECK (typeof(computed) IN ('real', 'null')),   -- by the definitions; NULL where they give none
    PRIMARY KEY (iteration_id, name)
);

-- The whole number that stands for an iteration in the rows of its curve. It is a column of its own: hidden row numbers
-- change with VACUUM.
CREATE TABLE curves (
    curve_id      INTEGER PRIMARY KEY,
    iteration_id  TEXT NOT NULL UNIQUE REFERENCES iterations (iteration_id) ON DELETE CASCADE
);
INSERT INTO curves (iteration_id) SELECT iteration_id FROM equity GROUP BY iteration_id ORDER BY min(equity_id);
ALTER TABLE equity RENAME TO equity_of_schema_2;
DROP INDEX equity_by_iteration;
CREATE TABLE equity (
    equity_id  INTEGER PRIMARY KEY AUTOINCREMENT,
    curve_id   INTEGER NOT NULL REFERENCES curves (curve_id) ON DELETE CASCADE,
    date       TEXT NOT NULL CHECK (date(substr(date, 1, 10), '+0 days') IS substr(date, 1, 10)),
    equity     REAL NOT NULL CHECK (typeof(equity) = 'real')
);
INSERT INTO equity SELECT e.equity_id, c.curve_id, e.date, e.equity
    FROM equity_of_schema_2 AS e JOIN curves AS c USING (iteration_id) ORDER BY e.equity_id;
DROP TABLE equity_of_schema_2;
CREATE INDEX equity_by_curve ON equity (curve_id);

CREATE TABLE series_names (
    series_id   INTEGER PRIMARY KEY,
    name        TEXT NOT NULL UNIQUE CHECK (name <> ''),
    timezone    TEXT CHECK (timezone <> ''),
    source      TEXT,
    changed_at  TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ')) CHECK (
        julianday(changed_at) IS NOT NULL AND date(substr(changed_at, 1, 10), '+0 days') IS substr(changed_at, 1, 10))
);
CREATE TABLE series (
    point_id   INTEGER PRIMARY KEY AUTOINCREMENT,
    series_id  INTEGER NOT NULL REFERENCES series_names (series_id) ON DELETE CASCADE,
    date       TEXT NOT NULL CHECK (date(substr(date, 1, 10), '+0 days') IS substr(date, 1, 10)),
    value      REAL NOT NULL CHECK (typeof(value) = 'real')
);
CREATE INDEX series_by_name ON series (series_id);

-- The index knows of each trigram in which strategies it is, not where, and keeps no text: what it finds are candidates,
-- and the strategies tell. So a row that another program replaces leaves at worst a candidate too many.
DROP TRIGGER strategies_search_inserted;
DROP TRIGGER strategies_search_updated;
DROP TRIGGER strategies_search_deleted;
DROP TABLE strategies_search;
CREATE VIRTUAL TABLE strategies_search USING fts5 (name, code, tokenize = 'trigram', content = '', detail = none);
INSERT INTO strategies_search (rowid, name, code) SELECT rowid, name, code FROM strategies;
CREATE TRIGGER strategies_search_inserted AFTER INSERT ON strategies BEGIN
    INSERT INTO strategies_search (rowid, name, code) VALUES (NEW.rowid, NEW.name, NEW.code);
END;
CREATE TRIGGER strategies_search_updated AFTER UPDATE ON strategies
WHEN OLD.rowid <> NEW.rowid OR OLD.name IS NOT NEW.name OR OLD.code IS NOT NEW.code BEGIN
    INSERT INTO strategies_search (strategies_search, rowid, name, code)
        VALUES ('delete', OLD.rowid, OLD.name, OLD.code);
    INSERT INTO strategies_search (rowid, name, code) VALUES (NEW.rowid, NEW.name, NEW.code);
END;
CREATE TRIGGER strategies_search_deleted AFTER DELETE ON strategies BEGIN
    INSERT INTO strategies_search (strategies_search, rowid, name, code)
        VALUES ('delete', OLD.rowid, OLD.name, OLD.code);
END;

UPDATE store_state SET needs_release = '0.1.0';
