-- Schema 4: what copies of a store that went apart need to become one again.

-- The id of the store, which its copies and backups share, wherever they lie.
ALTER TABLE store_state ADD COLUMN store_id TEXT;
UPDATE store_state SET store_id = lower(hex(randomblob(16)));

-- 1 only inside a transaction of ours while rows are deleted whose buckets it has all stamped, so that the triggers do not
-- do it again for each of a million rows.
ALTER TABLE store_state ADD COLUMN deleting INTEGER NOT NULL DEFAULT 0;

-- When an annotation was last changed, since the newest change of each field counts. What is not named is as it was
-- saved. Removed tags and deleted iterations are told too, so that it refers to nothing: of a deleted iteration that
-- alone, and of one that came back when it did.
CREATE TABLE changes (
    iteration_id  TEXT NOT NULL,
    field         TEXT NOT NULL CHECK (
        field IN ('note', 'starred', 'archived', 'iteration_number', 'tag', 'suggestion', 'deleted', 'revived')),
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

-- What was annotated before has the time of the last annotation; what is as an iteration is saved by default has none.
INSERT INTO changes (iteration_id, field, changed_at)
    SELECT iteration_id, 'note', changed_at FROM iterations WHERE note IS NOT NULL AND changed_at IS NOT NULL
    UNION ALL SELECT iteration_id, 'starred', changed_at FROM iterations WHERE starred AND changed_at IS NOT NULL
    UNION ALL SELECT iteration_id, 'archived', changed_at FROM iterations WHERE archived AND changed_at IS NOT NULL;
INSERT INTO changes
    SELECT iteration_id, 'tag', tag, changed_at FROM tags JOIN iterations USING (iteration_id)
    WHERE changed_at IS NOT NULL
    UNION ALL SELECT iteration_id, 'suggestion', suggestion_id, changed_at
    FROM suggestions JOIN iterations USING (iteration_id) WHERE status <> 'open' AND changed_at IS NOT NULL;

-- A row that is inserted here is a change of this moment. It is newer than all that is known of the iteration, even if
-- that came from a computer whose clock is ahead.
CREATE VIEW changes_now AS SELECT iteration_id, field, item FROM changes;
CREATE TRIGGER changes_now_inserted INSTEAD OF INSERT ON changes_now BEGIN
    INSERT INTO changes
        SELECT NEW.iteration_id, NEW.field, NEW.item,
            iif(newest > now, coalesce(strftime('%Y-%m-%dT%H:%M:%f', newest, '+0.001 seconds') || '000Z', now), now)
        FROM (SELECT strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000Z' AS now, coalesce(
            (SELECT changed_at FROM iterations WHERE iteration_id = NEW.iteration_id),
            (SELECT max(changed_at) FROM changes WHERE iteration_id = NEW.iteration_id)) AS newest)
        WHERE true ON CONFLICT (iteration_id, field, item) DO UPDATE SET changed_at = excluded.changed_at;
    UPDATE iterations SET changed_at = (SELECT changed_at FROM changes
            WHERE iteration_id = NEW.iteration_id AND field = NEW.field AND item = NEW.item)
        WHERE iteration_id = NEW.iteration_id;
END;
CREATE TRIGGER iterations_annotated AFTER UPDATE OF note, starred, archived, iteration_number ON iterations BEGIN
    INSERT INTO changes_now
        SELECT NEW.iteration_id, 'note', '' WHERE OLD.note IS NOT NEW.note
        UNION ALL SELECT NEW.iteration_id, 'starred', '' WHERE OLD.starred IS NOT NEW.starred
        UNION ALL SELECT NEW.iteration_id, 'archived', '' WHERE OLD.archived IS NOT NEW.archived
        UNION ALL SELECT NEW.iteration_id, 'iteration_number', ''
            WHERE OLD.iteration_number IS NOT NEW.iteration_number;
END;
CREATE TRIGGER iterations_removed AFTER DELETE ON iterations BEGIN
    INSERT INTO changes_now VALUES (OLD.iteration_id, 'deleted', '');
    DELETE FROM changes WHERE iteration_id = OLD.iteration_id AND field <> 'deleted';
END;
CREATE TRIGGER suggestions_decided AFTER UPDATE OF status ON suggestions WHEN OLD.status IS NOT NEW.status BEGIN
    INSERT INTO changes_now VALUES (NEW.iteration_id, 'suggestion', NEW.suggestion_id);
END;
-- Tags that go with their iteration are no change of it. When a tag was added, a save of a new iteration does not ask.
CREATE TRIGGER tags_removed AFTER DELETE ON tags
WHEN EXISTS (SELECT 1 FROM iterations WHERE iteration_id = OLD.iteration_id) BEGIN
    INSERT INTO changes_now VALUES (OLD.iteration_id, 'tag', OLD.tag);
END;

UPDATE store_state SET needs_release = '0.1.0';
