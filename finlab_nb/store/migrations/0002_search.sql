-- Schema 2: full-text search over strategies, what the adoption of an older file changed, and the last backup.

-- Trigrams find parts of words, which code and Chinese need. The table keeps its own text, so that a program that
-- writes to strategies with another conflict policy leaves at worst an entry without a strategy, never a damaged index.
CREATE VIRTUAL TABLE strategies_search USING fts5 (name, code, tokenize = 'trigram');
INSERT INTO strategies_search (rowid, name, code) SELECT rowid, name, code FROM strategies;
CREATE TRIGGER strategies_search_inserted AFTER INSERT ON strategies BEGIN
    DELETE FROM strategies_search WHERE rowid = NEW.rowid;
    INSERT INTO strategies_search (rowid, name, code) VALUES (NEW.rowid, NEW.name, NEW.code);
END;
CREATE TRIGGER strategies_search_updated AFTER UPDATE OF name, code ON strategies BEGIN
    DELETE FROM strategies_search WHERE rowid IN (OLD.rowid, NEW.rowid);
    INSERT INTO strategies_search (rowid, name, code) VALUES (NEW.rowid, NEW.name, NEW.code);
END;
CREATE TRIGGER strategies_search_deleted AFTER DELETE ON strategies BEGIN
    DELETE FROM strategies_search WHERE rowid = OLD.rowid;
END;

-- Rows from the original layer that its keys allowed and today's do not: what was changed to keep them.
CREATE TABLE adoption_notes (
    note_id      INTEGER PRIMARY KEY,
    table_name   TEXT NOT NULL,
    row_id       INTEGER NOT NULL,
    column_name  TEXT NOT NULL,
    original     TEXT,                            -- JSON of the value, or of the whole row where it could not stay
    problem      TEXT NOT NULL
);

ALTER TABLE store_state ADD COLUMN needs_release TEXT;      -- the oldest finlab_nb that reads this schema
ALTER TABLE store_state ADD COLUMN last_backup TEXT;        -- path of the newest verified backup
ALTER TABLE store_state ADD COLUMN last_backup_at TEXT;
UPDATE store_state SET needs_release = '0.1.0';
