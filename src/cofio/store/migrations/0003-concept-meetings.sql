-- depends: 0002-documents

-- Which meetings mention a concept: what its edges say, without walking them.
CREATE TABLE concept_meetings (
    concept INTEGER NOT NULL REFERENCES memories (id) ON DELETE CASCADE,
    meeting INTEGER NOT NULL REFERENCES meetings (id) ON DELETE CASCADE,
    PRIMARY KEY (concept, meeting)
) STRICT, WITHOUT ROWID;

CREATE INDEX concept_meetings_by_meeting ON concept_meetings (meeting);

INSERT INTO concept_meetings (concept, meeting)
SELECT DISTINCT c.id, s.meeting
FROM memories c
JOIN edges e ON e.target = c.id AND e.kind IN ('mentions', 'spoken_by')
JOIN memories s ON s.id = e.source
WHERE c.level = 0 AND s.meeting IS NOT NULL;
