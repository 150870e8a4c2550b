-- The registry, format 3: old history, packed: some lines each, as JSON under zstd. A line stands either here or in `event`.

CREATE TABLE pack (
    last   INTEGER PRIMARY KEY,
    first  INTEGER NOT NULL,
    newest INTEGER NOT NULL,
    bytes  BLOB NOT NULL
);
