-- name: create_schema#
CREATE TABLE IF NOT EXISTS keys (
    key_id      TEXT PRIMARY KEY,             -- public: the middle of the key
    secret_hash BLOB NOT NULL CHECK (length(secret_hash) = 32),
    name        TEXT NOT NULL,                -- what its maker calls it
    permissions TEXT NOT NULL,                -- JSON list
    project     TEXT,                         -- the only one that it sees and writes
    created_at  TEXT NOT NULL,                -- ISO instants, UTC
    expires_at  TEXT,
    revoked_at  TEXT
) STRICT;

-- name: add_key!
INSERT INTO keys (key_id, secret_hash, name, permissions, project, created_at, expires_at)
VALUES (:key_id, :secret_hash, :name, :permissions, :project, :created_at, :expires_at);

-- name: all_keys
SELECT * FROM keys ORDER BY created_at, key_id;

-- name: revoke_key!
UPDATE keys SET revoked_at = coalesce(revoked_at, :revoked_at) WHERE key_id = :key_id;
