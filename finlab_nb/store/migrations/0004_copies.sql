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
