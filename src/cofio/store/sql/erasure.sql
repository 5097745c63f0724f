-- name: meetings_of_project
SELECT id, meeting_id FROM meetings WHERE project = :project ORDER BY id;

-- name: projects
SELECT DISTINCT project FROM meetings ORDER BY project;

-- name: meetings_spoken_in
-- The meetings in which somebody spoke, by the key of the person's concept.
SELECT meeting FROM mentions
WHERE project = :project AND kind = 'person' AND concept_key = :concept_key;

-- name: meetings_with_participants
SELECT id, participants FROM meetings WHERE :project IS NULL OR project = :project;

-- name: episodes_to_keep
-- Every episode of a meeting with all that is stored of it but its type, in its order.
SELECT memory_id, position, content, words, speaker, start_s, end_s, vector
FROM memories WHERE meeting = :meeting AND level = 2 ORDER BY position;

-- name: memory_ids_of_project
SELECT memory_id, level FROM memories WHERE level IN (0, 1, 2) AND project = :project ORDER BY id;

-- name: count_edges_of_project$
SELECT count(*) FROM edges
WHERE source IN (SELECT id FROM memories WHERE level IN (0, 1, 2) AND project = :project);

-- name: owe_deletion_of_project!
INSERT INTO outbox (level, memory_id, operation)
SELECT level, memory_id, 'delete' FROM memories WHERE level IN (0, 1, 2) AND project = :project ORDER BY level, id;

-- name: delete_edges_of_project!
DELETE FROM edges WHERE source IN (SELECT id FROM memories WHERE level IN (0, 1, 2) AND project = :project);

-- name: delete_mentions_of_project!
DELETE FROM mentions WHERE project = :project;

-- name: delete_memories_of_project!
DELETE FROM memories WHERE level IN (0, 1, 2) AND project = :project;

-- name: delete_meetings_of_project!
DELETE FROM meetings WHERE project = :project;

-- name: withdraw_waiting_meetings!
-- What batches still hold of a project is not ingested any more.
UPDATE operation_meetings SET status = 'failed', payload = NULL, title = '(deleted)', result = :result
WHERE status = 'pending' AND payload ->> 'project' = :project;

-- name: forget_failed_meetings!
-- Failures that 1.0.0 stored do not tell their project: they count as being of any.
UPDATE operation_meetings
SET title = '(deleted)', payload = NULL, result = json_set(result, '$.detail', result ->> 'title')
WHERE status = 'failed' AND (payload ->> 'project' = :project OR payload IS NULL AND title <> '(deleted)');

-- name: forget_quoting_failures!
-- Failures that 1.0.0 stored, without a project, may quote the transcript.
UPDATE operation_meetings SET result = json_set(result, '$.detail', result ->> 'title')
WHERE status = 'failed' AND payload IS NULL AND result ->> 'code' IN ('unknown_format', 'unreadable_transcript');

-- name: forget_owner_of_operations!
-- The name of an erased project is not kept as the one that a batch's sender was bound to.
UPDATE operations SET project = NULL WHERE project = :project;

-- name: count_waiting_meetings$
SELECT count(*) FROM operation_meetings WHERE status = 'pending' AND payload ->> 'project' = :project;

-- name: count_failed_meetings$
SELECT count(*) FROM operation_meetings WHERE status = 'failed' AND payload ->> 'project' = :project;

-- name: waiting_meetings
-- Where the meetings are that batches have yet to ingest.
SELECT operation_id, position FROM operation_meetings
WHERE status = 'pending' AND (:project IS NULL OR payload ->> 'project' = :project);

-- name: waiting_meeting
-- A meeting that waits, as it was sent; nothing if it does not wait any more.
SELECT payload FROM operation_meetings
WHERE operation_id = :operation_id AND position = :position AND status = 'pending';

-- name: forget_warnings_in_operations!
-- What the reading of a transcript remarked may quote it.
UPDATE operation_meetings SET result = json_set(result, '$.warnings', json_array()) WHERE meeting_id = :meeting_id;

-- name: names_in_use^
-- Whether any meeting still bears these names, which the vector index holds too.
SELECT EXISTS (SELECT 1 FROM meetings WHERE project = :project)
       AND (:series IS NULL OR EXISTS (SELECT 1 FROM meetings WHERE series = :series)) AS in_use;

-- name: still_named^
-- Where a name, folded, occurs in what others said, and in what was written about meetings.
SELECT
    (SELECT count(*) FROM memories WHERE level = 2 AND (:project IS NULL OR project = :project)
        AND instr(folded(content), :name)) AS utterances,
    (SELECT count(*) FROM memories WHERE level = 0 AND (:project IS NULL OR project = :project)
        AND instr(folded(content), :name)) AS concepts,
    (SELECT count(*) FROM meetings WHERE (:project IS NULL OR project = :project)
        AND (instr(folded(title), :name)
             OR EXISTS (SELECT 1 FROM json_tree(metadata) WHERE instr(folded(key), :name) OR instr(folded(atom), :name))))
        AS meetings;
