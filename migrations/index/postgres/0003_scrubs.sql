-- Whether deleted rows may still be readable in the files of the database.
ALTER TABLE projections ADD COLUMN owes_scrub BOOLEAN NOT NULL DEFAULT false;
