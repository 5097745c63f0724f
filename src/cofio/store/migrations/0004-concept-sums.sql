-- depends: 0003-concept-meetings

-- What all mentions of a concept come to, so that one more meeting costs what it adds. Every number can be made again
-- from the mentions; a concept that has no row here is summed when it is next mentioned.
CREATE TABLE concept_sums (
    concept            INTEGER PRIMARY KEY REFERENCES memories (id) ON DELETE CASCADE,
    kind               TEXT NOT NULL,
    label              TEXT NOT NULL,
    salience           REAL NOT NULL,        -- of the mention that gave the label
    label_meeting      INTEGER NOT NULL,
    meetings           INTEGER NOT NULL,
    episodes           INTEGER NOT NULL,
    contexts           INTEGER NOT NULL,     -- the most that one meeting has
    first_date         TEXT,
    last_date          TEXT,
    definition_meeting INTEGER,
    definition         INTEGER,              -- position of the defining episode
    vector_sum         BLOB NOT NULL CHECK (length(vector_sum) = 3200)  -- 400 int64, little-endian, fixed point
) STRICT;

-- A mention with the date of its meeting and the episode that it proposes as the definition.
CREATE VIEW concept_shares AS
SELECT n.*, g.date, d.memory_id AS definition_id, d.content AS definition_text, d.speaker AS definition_speaker,
       d.words AS definition_words
FROM mentions n
JOIN meetings g ON g.id = n.meeting
LEFT JOIN memories d ON d.meeting = n.meeting AND d.level = 2 AND d.position = n.definition;

-- Filters find concepts in the graph, which knows who mentions them.
DROP TABLE concept_meetings;
