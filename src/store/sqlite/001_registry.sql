-- The registry, format 1. This file is never edited; a change of format is a new file.
-- Paths are bytes, so they are BLOBs, and BLOBs compare byte by byte.

CREATE TABLE counter (
    only_row      INTEGER PRIMARY KEY CHECK (only_row = 0),
    token         INTEGER NOT NULL,
    token_durable INTEGER NOT NULL,
    boot          TEXT NOT NULL,
    repository    TEXT NOT NULL
);

CREATE TABLE task (
    id        TEXT PRIMARY KEY,
    token     INTEGER NOT NULL,
    owner     TEXT NOT NULL,
    ttl       INTEGER NOT NULL,
    max_hold  INTEGER NOT NULL,
    renewed   INTEGER NOT NULL,
    reason    TEXT,
    metadata  TEXT NOT NULL,
    since     INTEGER NOT NULL,
    lost      INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE lock (
    ns    INTEGER NOT NULL,
    res   BLOB NOT NULL,
    kind  TEXT NOT NULL,
    task  TEXT NOT NULL,
    mode  INTEGER NOT NULL,
    token INTEGER NOT NULL,
    PRIMARY KEY (ns, res, kind, task)
) WITHOUT ROWID;
CREATE INDEX lock_task ON lock (task);

CREATE TABLE waiter (
    seq      INTEGER PRIMARY KEY,
    ticket   BLOB NOT NULL UNIQUE,
    task     TEXT NOT NULL,
    owner    TEXT NOT NULL,
    since    INTEGER NOT NULL,
    until    INTEGER NOT NULL,
    phase    TEXT NOT NULL,
    token    INTEGER,
    upgraded TEXT,
    absent   INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX waiter_task ON waiter (task);
CREATE TABLE want (
    ns   INTEGER NOT NULL,
    res  BLOB NOT NULL,
    kind TEXT NOT NULL,
    seq  INTEGER NOT NULL,
    mode INTEGER NOT NULL,
    PRIMARY KEY (ns, res, kind, seq)
) WITHOUT ROWID;
CREATE INDEX want_seq ON want (seq);

CREATE TABLE txn (
    id       BLOB PRIMARY KEY,
    task     TEXT NOT NULL,
    state    TEXT NOT NULL,
    branch   TEXT,
    target   TEXT,
    base     BLOB,
    token    INTEGER,
    ref      TEXT,
    old      BLOB,
    new      BLOB,
    manifest BLOB,
    began    INTEGER NOT NULL
) WITHOUT ROWID;
CREATE UNIQUE INDEX txn_current ON txn (task) WHERE state NOT IN ('done', 'rolled-back');
CREATE INDEX txn_unfinished ON txn (state) WHERE state IN ('committing', 'aborting', 'decided', 'landed');

CREATE TABLE change (
    txn        BLOB NOT NULL,
    path       BLOB NOT NULL,
    post       TEXT,
    base       TEXT,
    slot       INTEGER NOT NULL,
    moved_from BLOB,
    moved_to   BLOB,
    PRIMARY KEY (txn, path)
) WITHOUT ROWID;

CREATE TABLE event (
    seq      INTEGER PRIMARY KEY,
    at       INTEGER NOT NULL,
    kind     TEXT NOT NULL,
    task     TEXT,
    txn      BLOB,
    resource TEXT,
    token    INTEGER,
    reason   TEXT,
    details  TEXT
);
