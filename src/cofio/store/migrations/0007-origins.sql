-- depends: 0006-audit

-- Which request asked for a batch, and in which trace: what is logged and traced of it leads back there.
ALTER TABLE operations ADD COLUMN request_id TEXT;
ALTER TABLE operations ADD COLUMN trace TEXT;  -- W3C's traceparent; NULL where nothing was traced
