-- Schema 4: what copies of a store that went apart need to become one again.

-- The id of the store, which its copies and backups share, wherever they lie.
ALTER TABLE store_state ADD COLUMN store_id TEXT;
UPDATE store_state SET store_id = lower(hex(randomblob(16)));

-- 1 only inside a transaction of ours while rows are deleted whose buckets it has all stamped, so that the triggers do not
-- do it again for each of a million rows.
ALTER TABLE store_state ADD COLUMN deleting INTEGER NOT NULL DEFAULT 0;

-- When an annotation was last changed, since the newest change of each field counts. What is not named here is as it was
-- saved. It tells of removed tags and deleted iterations too, so that it refers to nothing.
CREATE TABLE changes (
    iteration_id  TEXT NOT NULL,
    field         TEXT NOT NULL CHECK (
        field IN ('note', 'starred', 'archived', 'iteration_number', 'tag', 'suggestion', 'deleted')),
    item          TEXT NOT NULL DEFAULT '',   -- which tag, which suggestion
    changed_at    TEXT NOT NULL CHECK (
        julianday(changed_at) IS NOT NULL AND date(substr(changed_at, 1, 10), '+0 days') IS substr(changed_at, 1, 10)),
    PRIMARY KEY (iteration_id, field, item)
) WITHOUT ROWID;

-- Which iterations applied a suggestion, in the order in which they did.
ALTER TABLE suggestions RENAME TO suggestions_of_schema_3;
DROP INDEX suggestions_by_iteration;
CREATE TABLE suggestions (
    suggestion_id        INTEGER PRIMARY KEY AUTOINCREMENT,
    iteration_id         TEXT NOT NULL REFERENCES iterations (iteration_id) ON DELETE CASCADE,
    priority             TEXT CHECK (priority IS NOT NULL AND priority IN ('high', 'medium', 'low')),
    description          TEXT NOT NULL CHECK (description <> ''),
    specific_changes     TEXT,
    expected_impact      TEXT,
    rationale            TEXT,
    learning_references  JSON CHECK (learning_references IS NULL OR json_type(learning_references) = 'array'),
    status               TEXT NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'applied', 'rejected'))
);
INSERT INTO suggestions
    SELECT suggestion_id, iteration_id, priority, description, specific_changes, expected_impact, rationale,
           learning_references, status
    FROM suggestions_of_schema_3 ORDER BY suggestion_id;
-- Numbers of removed suggestions are not given again.
DELETE FROM sqlite_sequence WHERE name = 'suggestions';
UPDATE sqlite_sequence SET name = 'suggestions' WHERE name = 'suggestions_of_schema_3';
CREATE INDEX suggestions_by_iteration ON suggestions (iteration_id);
CREATE TABLE applications (
    suggestion_id  INTEGER NOT NULL REFERENCES suggestions (suggestion_id) ON DELETE CASCADE,
    iteration_id   TEXT NOT NULL REFERENCES iterations (iteration_id) ON DELETE CASCADE,
    PRIMARY KEY (suggestion_id, iteration_id)
);
CREATE INDEX applications_by_iteration ON applications (iteration_id);
INSERT INTO applications
    SELECT suggestion_id, applied_iteration_id FROM suggestions_of_schema_3
    WHERE applied_iteration_id IS NOT NULL ORDER BY suggestion_id;
DROP TABLE suggestions_of_schema_3;
-- When the last iteration that applied a suggestion goes, nobody has applied it.
CREATE TRIGGER suggestions_reopened AFTER DELETE ON applications
WHEN NOT EXISTS (SELECT 1 FROM applications WHERE suggestion_id = OLD.suggestion_id) BEGIN
    UPDATE suggestions SET status = 'open' WHERE suggestion_id = OLD.suggestion_id AND status = 'applied';
END;

UPDATE store_state SET needs_release = '0.1.0';
