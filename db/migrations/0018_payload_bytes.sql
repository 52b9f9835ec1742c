-- Payloads carry their size, so that a user's limits are counted without reading payloads. 0011 added it as a generated column, which wrote
-- all payloads anew under a lock that let nobody read them; now a trigger fills it. Both kinds of installations come to the same here.
-- Locks for a moment: payloads (ACCESS EXCLUSIVE).
-- Takes, and blocks nobody: reading each payload once and writing its row anew, a minute for a million; where 0011 was applied before, reading alone.

-- part: adds the size, and fills it from now on
ALTER TABLE payloads ADD COLUMN IF NOT EXISTS bytes integer;
ALTER TABLE payloads ALTER COLUMN bytes DROP EXPRESSION IF EXISTS; -- the sizes stay
CREATE FUNCTION fill_payload_bytes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.bytes := octet_length(NEW.payload::text);
  RETURN NEW;
END $$;
CREATE TRIGGER payloads_bytes BEFORE INSERT OR UPDATE OF payload ON payloads FOR EACH ROW EXECUTE FUNCTION fill_payload_bytes();

-- steps: fills the size of payloads
WITH step AS MATERIALIZED (
  SELECT id FROM workflows WHERE id > $1::uuid ORDER BY id LIMIT greatest($2 / 10, 1) -- payloads are large, and locked until the commit
), filled AS (
  UPDATE payloads SET bytes = octet_length(payload::text) FROM step WHERE payloads.workflow_id = step.id AND bytes IS NULL
)
SELECT id AS position FROM step ORDER BY id DESC LIMIT 1;

-- part: requires the size of new rows
ALTER TABLE payloads ADD CONSTRAINT payloads_bytes_filled CHECK (bytes IS NOT NULL) NOT VALID;

-- part: checks that all rows have it
ALTER TABLE payloads VALIDATE CONSTRAINT payloads_bytes_filled;

-- part: requires it for good
ALTER TABLE payloads ALTER COLUMN bytes SET NOT NULL; -- reads no row: the check says it
ALTER TABLE payloads DROP CONSTRAINT payloads_bytes_filled;
