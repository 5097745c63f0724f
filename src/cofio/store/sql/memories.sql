-- name: save_memories*!
INSERT INTO memories (memory_id, level, project, meeting, position, memory_type, content, words, speaker, start_s,
                      end_s, pure_question, details, vector)
VALUES (:memory_id, :level, :project, :meeting, :position, :memory_type, :content, :words, :speaker, :start_s,
        :end_s, :pure_question, :details, :vector)
ON CONFLICT (memory_id) DO UPDATE SET
    position = excluded.position, memory_type = excluded.memory_type, content = excluded.content,
    words = excluded.words, speaker = excluded.speaker, start_s = excluded.start_s, end_s = excluded.end_s,
    pure_question = excluded.pure_question, details = excluded.details, vector = excluded.vector;

-- name: delete_memories*!
DELETE FROM memories WHERE memory_id = :memory_id;

-- name: memory_ids_of_meeting
SELECT id, memory_id, level, position FROM memories WHERE meeting = :meeting;

-- name: episodes_of_meeting
SELECT memory_id, vector FROM memories WHERE meeting = :meeting AND level = 2 ORDER BY position;

-- name: memory_rowids
SELECT id, memory_id FROM memories WHERE memory_id IN (SELECT value FROM json_each(:memory_ids));

-- name: memories_at$
-- Memories at these rows, and with these ids, with the meeting each belongs to, as answers show them: one JSON array of arrays. Every row that is read gives
-- Python's lock away twice, and beside a thread that computes it comes back late; this is one row.
SELECT json_group_array(json_array(m.memory_id, m.level, m.project, m.position, m.memory_type, m.content, m.speaker,
       m.start_s, m.end_s, m.details, g.meeting_id, g.title, g.date, g.series))
FROM memories m LEFT JOIN meetings g ON g.id = m.meeting
WHERE m.id IN (SELECT value FROM json_each(:rows)) OR m.memory_id IN (SELECT value FROM json_each(:memory_ids));

-- name: memory^
SELECT m.memory_id, m.level, m.project, m.position, m.memory_type, m.content, m.speaker, m.start_s, m.end_s,
       m.details, g.meeting_id, g.title, g.date, g.series, m.id, m.vector
FROM memories m LEFT JOIN meetings g ON g.id = m.meeting
WHERE m.memory_id = :memory_id AND (:project IS NULL OR m.project = :project);

-- name: points_by_id
-- What the vector index holds of a memory.
SELECT m.memory_id, m.level, m.project, m.memory_type, m.speaker, m.vector, g.meeting_id, g.series, g.date
FROM memories m LEFT JOIN meetings g ON g.id = m.meeting
WHERE m.memory_id IN (SELECT value FROM json_each(:memory_ids));

-- name: episodes_for_graph
SELECT id, meeting, memory_id, position, memory_type, content, words, speaker, pure_question, vector
FROM memories WHERE level = 2 AND meeting IN (SELECT value FROM json_each(:ids))
ORDER BY meeting, position;

-- name: contexts_for_graph
SELECT meeting, memory_id, details, vector
FROM memories WHERE level = 1 AND meeting IN (SELECT value FROM json_each(:ids))
ORDER BY meeting, position;

-- name: answers_for_graph
SELECT s.meeting, e.source, e.target
FROM memories s JOIN edges e ON e.source = s.id AND e.kind = 'answers'
WHERE s.level = 2 AND s.meeting IN (SELECT value FROM json_each(:ids))
ORDER BY s.meeting, e.source, e.target;

-- name: concepts_for_graph
-- Found by their ids (the + keeps the index on levels out of it).
SELECT memory_id, project, details, vector
FROM memories WHERE +level = 0 AND memory_id IN (SELECT value FROM json_each(:ids))
ORDER BY memory_id;

-- name: concept_mentions_for_graph
-- Every mention of the given concepts.
SELECT c.memory_id, s.meeting, s.position
FROM memories c
JOIN edges e ON e.target = c.id AND e.kind IN ('mentions', 'spoken_by')
JOIN memories s ON s.id = e.source
WHERE +c.level = 0 AND c.memory_id IN (SELECT value FROM json_each(:ids))
ORDER BY c.memory_id, s.meeting, s.position;

-- name: concept_mentions_of_meetings
-- Every mention in the given meetings.
SELECT c.memory_id, s.meeting, s.position
FROM memories s
JOIN edges e ON e.source = s.id AND e.kind IN ('mentions', 'spoken_by')
JOIN memories c ON c.id = e.target
WHERE s.level = 2 AND s.meeting IN (SELECT value FROM json_each(:meetings))
ORDER BY c.memory_id, s.meeting, s.position;

-- name: memory_ids_of_level
SELECT memory_id FROM memories WHERE level = :level;

-- name: neighbours
-- Every edge at one memory, read from it (`out`) and towards it (`in`).
SELECT e.kind, 'out' AS direction, e.weight, t.memory_id, t.level, t.content
FROM edges e JOIN memories t ON t.id = e.target WHERE e.source = :id
UNION ALL
SELECT e.kind, 'in', e.weight, s.memory_id, s.level, s.content
FROM edges e JOIN memories s ON s.id = e.source WHERE e.target = :id
ORDER BY 1, 2, 3 DESC, 4
LIMIT :limit;

-- name: episode_texts
SELECT memory_id, content FROM memories WHERE level = 2;
