-- The registry, format 2: a request may be for shares, of which the store chooses which.
-- This file is never edited; a change of format is a new file.

ALTER TABLE waiter ADD COLUMN shares TEXT;
