-- Schema 6: where the figures of an iteration come from, and a hash by which the same result is known again.

CREATE TABLE provenance (
    iteration_id      TEXT PRIMARY KEY NOT NULL REFERENCES iterations (iteration_id) ON DELETE CASCADE,
    engine            TEXT CHECK (engine <> ''),
    engine_version    TEXT CHECK (engine_version <> ''),
    code_hash         TEXT CHECK (code_hash <> ''),                        -- SHA-256 of the code that was run
    packages          JSON CHECK (packages IS NULL OR json_type(packages) = 'object'),
    data_fingerprint  TEXT,
    seed              INTEGER CHECK (typeof(seed) IN ('integer', 'null')),
    duration          REAL CHECK (duration IS NULL OR (typeof(duration) = 'real' AND duration >= 0)),  -- seconds
    host              TEXT CHECK (host <> ''),
    result_hash       TEXT CHECK (result_hash <> '')                       -- SHA-256 of parameters, figures, trades, curve
);
CREATE INDEX provenance_by_result ON provenance (result_hash) WHERE result_hash IS NOT NULL;

UPDATE store_state SET needs_release = '0.1.0';
