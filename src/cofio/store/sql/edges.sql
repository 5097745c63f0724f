-- name: delete_edges_of_meeting!
DELETE FROM edges WHERE source IN (SELECT id FROM memories WHERE meeting = :meeting);

-- name: edges_out_of
-- The answers of a meeting to questions of others.
SELECT s.memory_id AS source, t.memory_id AS target
FROM meetings g
JOIN memories s ON s.meeting = g.id
JOIN edges e ON e.source = s.id AND e.kind = 'answers'
JOIN memories t ON t.id = e.target AND t.meeting <> g.id
WHERE g.meeting_id = :meeting_id;

-- name: meetings_that_answer
-- The meetings, but this one, that answer questions of these memories.
SELECT DISTINCT s.meeting
FROM memories q
JOIN edges e ON e.target = q.id AND e.kind = 'answers'
JOIN memories s ON s.id = e.source
WHERE q.memory_id IN (SELECT value FROM json_each(:questions)) AND s.meeting <> :meeting;

-- name: save_edges*!
INSERT OR REPLACE INTO edges (source, target, kind, weight) VALUES (:source, :target, :kind, :weight);

-- name: link_concept*!
-- Edges from a meeting's episodes, given by their positions, to a concept.
INSERT OR REPLACE INTO edges (source, target, kind, weight)
SELECT e.id, c.id, :kind, :weight
FROM json_each(:positions) p
JOIN memories e ON e.meeting = :meeting AND e.level = 2 AND e.position = p.value
JOIN memories c ON c.memory_id = :concept_id;

-- name: unlink_definitions*!
DELETE FROM edges WHERE kind = 'defines' AND target = (SELECT id FROM memories WHERE memory_id = :concept_id);

-- name: all_nodes
SELECT m.memory_id, m.level, m.memory_type, m.content, m.speaker, g.title, g.date
FROM memories m LEFT JOIN meetings g ON g.id = m.meeting ORDER BY m.id;

-- name: all_edges
SELECT s.memory_id AS source, t.memory_id AS target, e.kind, e.weight
FROM edges e JOIN memories s ON s.id = e.source JOIN memories t ON t.id = e.target
ORDER BY e.source, e.kind, e.target;
