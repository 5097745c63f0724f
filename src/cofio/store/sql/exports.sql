-- name: export_counts^
SELECT (SELECT count(*) FROM meetings WHERE :project IS NULL OR project = :project) AS meetings,
       (SELECT count(*) FROM memories WHERE level = 0 AND (:project IS NULL OR project = :project)) AS "L0",
       (SELECT count(*) FROM memories WHERE level = 1 AND (:project IS NULL OR project = :project)) AS "L1",
       (SELECT count(*) FROM memories WHERE level = 2 AND (:project IS NULL OR project = :project)) AS "L2";

-- name: meetings_to_export
SELECT * FROM meetings WHERE :project IS NULL OR project = :project ORDER BY id;

-- name: memories_to_export
-- Episodes first, then contexts.
SELECT memory_id, level, position, memory_type, content, words, speaker, start_s, end_s, pure_question, details, vector
FROM memories WHERE meeting = :meeting ORDER BY level DESC, position;

-- name: edges_to_export
-- Those to concepts follow from the mentions.
SELECT s.memory_id AS source, t.memory_id AS target, e.kind, e.weight
FROM memories s JOIN edges e ON e.source = s.id JOIN memories t ON t.id = e.target
WHERE s.meeting = :meeting AND e.kind IN ('next', 'part_of', 'answers')
ORDER BY s.level DESC, s.position, e.kind, t.memory_id;

-- name: mentions_to_export
SELECT concept_key, kind, label, salience, contexts, episodes, definition, vector_sum
FROM mentions WHERE meeting = :meeting ORDER BY concept_key;

-- name: concepts_to_export
SELECT memory_id, project, content, details
FROM memories WHERE level = 0 AND (:project IS NULL OR project = :project) ORDER BY id;
