-- Whether deleted rows may still be readable in the files of the database.
ALTER TABLE projections ADD COLUMN owes_scrub boolean NOT NULL DEFAULT false;
-- The id of the last event that was read: another log has another one at the same place.
ALTER TABLE projections ADD COLUMN last_event uuid;
