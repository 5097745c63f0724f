-- name: counts^
SELECT
    (SELECT count(*) FROM meetings) AS meetings,
    (SELECT count(*) FROM memories WHERE level = 0) AS l0,
    (SELECT count(*) FROM memories WHERE level = 1) AS l1,
    (SELECT count(*) FROM memories WHERE level = 2) AS l2,
    (SELECT count(*) FROM edges) AS edges,
    (SELECT count(*) FROM operations WHERE finished_at IS NULL) AS open_operations;

-- name: version$
SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'changes';

-- name: record_change<!
INSERT INTO changes (meeting, concepts) VALUES (:meeting, :concepts);

-- name: forget_old_changes!
-- Readers that are further behind than this reload everything.
DELETE FROM changes WHERE version <= :version - 1000;

-- name: changes_since
SELECT version, meeting, concepts FROM changes WHERE version > :version ORDER BY version;

-- name: change^
SELECT meeting, concepts FROM changes WHERE version = :version;

-- name: fact$
SELECT value FROM facts WHERE name = :name;

-- name: set_fact!
INSERT INTO facts (name, value) VALUES (:name, :value) ON CONFLICT (name) DO UPDATE SET value = excluded.value;

-- name: forget_fact!
DELETE FROM facts WHERE name = :name;

-- name: settle_fact!
-- The fact is forgotten, unless it was stated anew meanwhile.
DELETE FROM facts WHERE name = :name AND value = :value;

-- name: outbox_size$
SELECT count(*) FROM outbox WHERE seq > :after;

-- name: outbox_batch
SELECT seq, level, memory_id, operation FROM outbox WHERE seq > :after ORDER BY seq LIMIT :limit;

-- name: settle_outbox!
DELETE FROM outbox WHERE seq <= :seq;

-- name: owe_level!
INSERT INTO outbox (level, memory_id, operation)
SELECT level, memory_id, 'upsert' FROM memories ORDER BY level, id;

-- name: owe*!
INSERT INTO outbox (level, memory_id, operation) VALUES (:level, :memory_id, :operation);

-- name: clear_outbox!
DELETE FROM outbox;
