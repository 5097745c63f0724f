-- name: known_keys
SELECT wanted.value AS concept_key
FROM json_each(:keys) AS wanted
WHERE EXISTS (
    SELECT 1 FROM mentions
    WHERE project = :project AND kind IN ('entity', 'term') AND concept_key = wanted.value
);

-- name: concept_keys_of_meeting
SELECT concept_key FROM mentions WHERE meeting = :meeting;

-- name: delete_mentions_of_meeting!
DELETE FROM mentions WHERE meeting = :meeting;

-- name: save_mentions*!
INSERT INTO mentions (project, concept_key, meeting, kind, label, salience, contexts, episodes, definition, vector_sum)
VALUES (:project, :concept_key, :meeting, :kind, :label, :salience, :contexts, :episodes, :definition, :vector_sum);

-- name: shares_of_keys
-- Every meeting's share in the given concepts.
SELECT * FROM concept_shares
WHERE project = :project AND concept_key IN (SELECT value FROM json_each(:keys));

-- name: shares_of_meeting
-- One meeting's share in the given concepts.
SELECT * FROM concept_shares
WHERE project = :project AND concept_key IN (SELECT value FROM json_each(:keys)) AND meeting = :meeting;

-- name: concept_sums
-- What the mentions of the given concepts are known to come to, with their definitions.
SELECT c.memory_id, s.*, g.date AS definition_date, d.memory_id AS definition_id, d.content AS definition_text,
       d.speaker AS definition_speaker, d.words AS definition_words
FROM memories c
JOIN concept_sums s ON s.concept = c.id
LEFT JOIN meetings g ON g.id = s.definition_meeting
LEFT JOIN memories d ON d.meeting = s.definition_meeting AND d.level = 2 AND d.position = s.definition
WHERE c.memory_id IN (SELECT value FROM json_each(:memory_ids));

-- name: save_concept_sums*!
INSERT OR REPLACE INTO concept_sums (concept, kind, label, salience, label_meeting, meetings, episodes, contexts,
                                     first_date, last_date, definition_meeting, definition, vector_sum)
SELECT id, :kind, :label, :salience, :label_meeting, :meetings, :episodes, :contexts, :first_date, :last_date,
       :definition_meeting, :definition, :vector_sum
FROM memories WHERE memory_id = :memory_id;

-- name: delete_orphaned_answers!
-- The mentions of a question whose own meeting is gone, or has answered it meanwhile.
DELETE FROM mentions
WHERE kind = 'question' AND project = :project AND concept_key IN (SELECT value FROM json_each(:keys))
  AND concept_key NOT IN (
      SELECT concept_key FROM mentions
      WHERE kind = 'question' AND project = :project AND definition IS NOT NULL);

-- name: open_questions
-- The questions that other meetings of the project left open, the latest first.
SELECT n.concept_key, e.memory_id, e.content, e.vector, g.date, g.series
FROM mentions n
JOIN meetings g ON g.id = n.meeting
JOIN memories e ON e.meeting = n.meeting AND e.level = 2 AND e.position = n.definition
WHERE n.project = :project AND n.kind = 'question' AND n.meeting <> :meeting
ORDER BY g.date DESC, g.id DESC
LIMIT :limit;
