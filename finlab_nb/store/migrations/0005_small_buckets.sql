-- Schema 5: where rows hold code, they are grouped in buckets of 16 rowids, so that a star reads little code again.

DELETE FROM edited_rows WHERE table_name IN ('strategies', 'iterations');
UPDATE store_state SET generation = lower(hex(randomblob(8))), needs_release = '0.1.0';
