-- name: create_operation!
INSERT INTO operations (operation_id, project, request_id, trace, created_at)
VALUES (:operation_id, :project, :request_id, :trace, :created_at);

-- name: add_operation_meetings*!
INSERT INTO operation_meetings (operation_id, position, title, status, payload)
VALUES (:operation_id, :position, :title, 'pending', :payload);

-- name: operation^
SELECT * FROM operations WHERE operation_id = :operation_id AND (:project IS NULL OR project = :project);

-- name: operation_progress^
-- Without results and payloads: so much is asked again and again.
SELECT started_at, finished_at, count(position) AS total, count(position) FILTER (WHERE status <> 'pending') AS done
FROM operations LEFT JOIN operation_meetings USING (operation_id) WHERE operation_id = :operation_id GROUP BY operation_id;

-- name: operation_meetings
SELECT position, title, status, result FROM operation_meetings WHERE operation_id = :operation_id ORDER BY position;

-- name: unfinished_operations
-- In the order in which they were accepted, also where the clock was set back meanwhile.
SELECT operation_id FROM operations WHERE finished_at IS NULL ORDER BY rowid;

-- name: start_operation^
UPDATE operations SET started_at = coalesce(started_at, :started_at) WHERE operation_id = :operation_id
RETURNING request_id, trace;

-- name: finish_operation!
UPDATE operations SET finished_at = coalesce(finished_at, :finished_at) WHERE operation_id = :operation_id;

-- name: pending_meetings
SELECT count(*) FROM operation_meetings JOIN operations USING (operation_id)
WHERE finished_at IS NULL AND status = 'pending';

-- name: next_pending_meeting
SELECT position, payload FROM operation_meetings
WHERE operation_id = :operation_id AND status = 'pending' ORDER BY position LIMIT 1;

-- name: is_pending$
SELECT EXISTS (
    SELECT 1 FROM operation_meetings
    WHERE operation_id = :operation_id AND position = :position AND status = 'pending');

-- name: settle_operation_meeting^
-- Of one that failed the project stays: it has no meeting by which the erasure of its project could find its title.
UPDATE operation_meetings SET status = :status, result = :result, meeting_id = :meeting_id,
    payload = iif(:status = 'failed', json_object('project', payload ->> 'project'), NULL)
WHERE operation_id = :operation_id AND position = :position AND status = 'pending'
RETURNING position;

-- name: forget_meeting_in_operations!
-- A deleted meeting leaves no title and no receipt behind in the operations that brought it.
UPDATE operation_meetings SET title = '(deleted)', result = json_object('outcome', 'deleted')
WHERE meeting_id = :meeting_id;
