-- name: meeting^
SELECT * FROM meetings WHERE meeting_id = :meeting_id AND (:project IS NULL OR project = :project);

-- name: save_meeting<!
INSERT INTO meetings (meeting_id, project, series, title, date, external_id, format, participants, metadata,
                      document, content_hash, duration_s, ingested_at)
VALUES (:meeting_id, :project, :series, :title, :date, :external_id, :format, :participants, :metadata,
        :document, :content_hash, :duration_s, :ingested_at)
ON CONFLICT (meeting_id) DO UPDATE SET
    project = excluded.project, series = excluded.series, title = excluded.title, date = excluded.date,
    external_id = excluded.external_id, format = excluded.format, participants = excluded.participants,
    metadata = excluded.metadata, document = excluded.document, content_hash = excluded.content_hash, duration_s = excluded.duration_s,
    ingested_at = excluded.ingested_at;

-- name: delete_meeting!
DELETE FROM meetings WHERE id = :id;

-- name: count_meetings$
SELECT count(*) FROM meetings
WHERE (:project IS NULL OR project = :project) AND (:series IS NULL OR series = :series);

-- name: page_of_meetings
-- Newest first; undated meetings come last. The cursor is the date and id of the last row of the page before.
SELECT * FROM meetings
WHERE (:project IS NULL OR project = :project) AND (:series IS NULL OR series = :series)
  AND (:after_id IS NULL OR (coalesce(date, ''), meeting_id) < (:after_date, :after_id))
ORDER BY coalesce(date, '') DESC, meeting_id DESC
LIMIT :limit;

-- name: memory_counts
-- How many memories of each level and type a meeting holds; concepts count by their edges from it.
SELECT level, memory_type, count(*) AS n FROM memories WHERE meeting = :meeting GROUP BY level, memory_type;

-- name: concept_count$
SELECT count(DISTINCT e.target) FROM edges e
JOIN memories s ON s.id = e.source
WHERE s.meeting = :meeting AND e.kind IN ('mentions', 'spoken_by');

-- name: edge_counts
SELECT e.kind, count(*) AS n FROM edges e JOIN memories s ON s.id = e.source
WHERE s.meeting = :meeting GROUP BY e.kind;

-- name: all_meeting_keys
SELECT id FROM meetings ORDER BY id;

-- name: meetings_by_rowid
SELECT * FROM meetings WHERE id IN (SELECT value FROM json_each(:ids)) ORDER BY id;
