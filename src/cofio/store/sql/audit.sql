-- name: add_audit<!
INSERT INTO audit (at, actor, action, subject, details) VALUES (:at, :actor, :action, :subject, :details);

-- name: add_audit_once!
-- What is told twice is told once.
INSERT INTO audit (at, actor, action, subject, details)
SELECT :at, :actor, :action, :subject, :details
WHERE NOT EXISTS (SELECT 1 FROM audit WHERE at = :at AND action = :action AND subject = :subject);

-- name: page_of_audit
SELECT * FROM audit WHERE :before IS NULL OR entry < :before ORDER BY entry DESC LIMIT :limit;
