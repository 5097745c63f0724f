-- depends: 0004-concept-sums

-- Who took what out of the memory, and when: ids, pseudonyms and numbers, never what was said. Only added to.
CREATE TABLE audit (
    entry   INTEGER PRIMARY KEY AUTOINCREMENT,
    at      TEXT NOT NULL,                   -- ISO instant, UTC
    actor   TEXT NOT NULL,
    action  TEXT NOT NULL,
    subject TEXT NOT NULL,                   -- a meeting's id, or the pseudonym of a name
    details TEXT NOT NULL                    -- JSON object of numbers
) STRICT;

CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit is only added to'); END;

CREATE TRIGGER audit_is_not_deleted BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit is only added to'); END;
