-- depends: 0001-memory

-- A document is prose under a title, without speakers and times; what names the title is linked to it.
ALTER TABLE meetings ADD COLUMN document INTEGER NOT NULL DEFAULT 0;
