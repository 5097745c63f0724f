-- depends: 0004-concept-sums

-- The project that the sender of a batch was bound to; NULL where it was bound to none.
ALTER TABLE operations ADD COLUMN project TEXT;

-- Pages of meetings go by date and public id: a row's number would tell how many meetings other projects have.
DROP INDEX meetings_by_date;
CREATE INDEX meetings_by_date ON meetings (coalesce(date, '') DESC, meeting_id DESC);
