-- A process that starts with another SECRET_KEY than the secrets are encrypted under is refused: the installation keeps the ids of its keys.
-- Locks for a moment: installations (ACCESS EXCLUSIVE), which has one row.

-- part: adds the ids of the keys
ALTER TABLE installations ADD COLUMN secret_key_ids text[] NOT NULL DEFAULT '{}';
