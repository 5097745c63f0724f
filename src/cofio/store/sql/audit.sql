-- name: add_audit<!
INSERT INTO audit (at, actor, action, subject, details) VALUES (:at, :actor, :action, :subject, :details);

-- name: page_of_audit
SELECT * FROM audit WHERE :before IS NULL OR entry < :before ORDER BY entry DESC LIMIT :limit;
