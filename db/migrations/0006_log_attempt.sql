-- The attempt whose first line's number is settled: what earlier attempts have printed is stored, and is followed by its lines. Chunks of
-- an earlier attempt that come later are dropped. A first attempt needs nothing to be settled.
ALTER TABLE jobs ADD COLUMN log_attempt integer NOT NULL DEFAULT 1;
ALTER TABLE builds ADD COLUMN log_attempt integer NOT NULL DEFAULT 1;
