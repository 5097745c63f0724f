-- depends:

CREATE TABLE meetings (
    id           INTEGER PRIMARY KEY,
    meeting_id   TEXT NOT NULL UNIQUE,
    project      TEXT NOT NULL,
    series       TEXT,
    title        TEXT NOT NULL,
    date         TEXT,                       -- ISO date
    external_id  TEXT,
    format       TEXT NOT NULL,
    participants TEXT NOT NULL,              -- JSON list
    metadata     TEXT NOT NULL,              -- JSON object
    content_hash TEXT NOT NULL,
    duration_s   REAL,
    ingested_at  TEXT NOT NULL               -- ISO instant, UTC
) STRICT;

CREATE INDEX meetings_by_date ON meetings (date DESC, id DESC);
CREATE INDEX meetings_by_project ON meetings (project, series);

-- Every node of the memory graph. A concept belongs to its project; episodes and contexts to a meeting.
CREATE TABLE memories (
    id          INTEGER PRIMARY KEY,
    memory_id   TEXT NOT NULL UNIQUE,
    level       INTEGER NOT NULL CHECK (level BETWEEN 0 AND 2),
    project     TEXT NOT NULL,
    meeting     INTEGER REFERENCES meetings (id) ON DELETE CASCADE,
    position    INTEGER,                     -- order among the memories of its meeting and level
    memory_type TEXT NOT NULL,
    content     TEXT NOT NULL,
    words       INTEGER NOT NULL,
    speaker     TEXT,
    start_s     REAL,
    end_s       REAL,
    pure_question INTEGER NOT NULL DEFAULT 0,
    details     TEXT NOT NULL DEFAULT '{}',  -- JSON: what only this level or type has
    vector      BLOB NOT NULL CHECK (length(vector) = 1600),  -- 400 float32, little-endian
    CHECK ((level = 0) = (meeting IS NULL))
) STRICT;

CREATE INDEX memories_by_meeting ON memories (meeting, level, position);
CREATE INDEX memories_by_level ON memories (level, project);

CREATE TABLE edges (
    source INTEGER NOT NULL REFERENCES memories (id) ON DELETE CASCADE,
    target INTEGER NOT NULL REFERENCES memories (id) ON DELETE CASCADE,
    kind   TEXT NOT NULL CHECK (kind IN ('next', 'part_of', 'spoken_by', 'mentions', 'defines', 'answers')),
    weight REAL NOT NULL,
    PRIMARY KEY (source, kind, target)
) STRICT, WITHOUT ROWID;

CREATE INDEX edges_by_target ON edges (target, kind);

-- What one meeting contributes to one possible concept. A concept is the sum of its mentions, so deleting a
-- meeting takes out exactly its share.
CREATE TABLE mentions (
    project     TEXT NOT NULL,
    concept_key TEXT NOT NULL,
    meeting     INTEGER NOT NULL REFERENCES meetings (id) ON DELETE CASCADE,
    kind        TEXT NOT NULL,
    label       TEXT NOT NULL,
    salience    REAL NOT NULL,
    contexts    INTEGER NOT NULL,            -- how many contexts of the meeting mention it
    episodes    TEXT NOT NULL,               -- JSON list of episode positions, ascending
    definition  INTEGER,                     -- position of the episode that explains it best
    vector_sum  BLOB NOT NULL CHECK (length(vector_sum) = 1600),
    UNIQUE (project, concept_key, meeting)
) STRICT;

-- Holds all that the look-ups of every ingest read, so that they never touch the vectors.
CREATE INDEX mentions_by_kind ON mentions (project, kind, concept_key, meeting, definition);

CREATE INDEX mentions_by_meeting ON mentions (meeting);

-- Debt to the vector index, paid after commit; what a crash leaves is paid at start-up.
CREATE TABLE outbox (
    seq       INTEGER PRIMARY KEY AUTOINCREMENT,
    level     INTEGER NOT NULL,
    memory_id TEXT NOT NULL,
    operation TEXT NOT NULL CHECK (operation IN ('upsert', 'delete'))
) STRICT;

-- One row a committed change; the highest version names the state of the truth.
CREATE TABLE changes (
    version  INTEGER PRIMARY KEY AUTOINCREMENT,
    meeting  INTEGER NOT NULL,               -- id of the meeting that was written or deleted
    concepts TEXT NOT NULL                   -- JSON list of the concepts' memory ids that it touched
) STRICT;

CREATE TABLE operations (
    operation_id TEXT PRIMARY KEY,
    created_at   TEXT NOT NULL,
    started_at   TEXT,
    finished_at  TEXT
) STRICT;

CREATE TABLE operation_meetings (
    operation_id TEXT NOT NULL REFERENCES operations (operation_id) ON DELETE CASCADE,
    position     INTEGER NOT NULL,
    title        TEXT NOT NULL,
    status       TEXT NOT NULL CHECK (status IN ('pending', 'succeeded', 'failed')),
    payload      TEXT,                       -- JSON of the meeting; cleared when it is done
    result       TEXT,                       -- JSON of the receipt or the error
    meeting_id   TEXT,
    PRIMARY KEY (operation_id, position)
) STRICT, WITHOUT ROWID;

-- Facts about this store as a whole, such as the encoder whose vectors it holds.
CREATE TABLE facts (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
