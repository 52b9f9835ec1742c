-- The round that is being served, of containers and of builds. The lowest round that waits is not that one: a user who is full, for as long as
-- jobs of theirs run, leaves turns of rounds that are past, and somebody who came then was put before all who had waited in later ones.
-- Begins where turns wait now. Locks nothing that is in use.

CREATE TABLE turn_rounds (
  kind text PRIMARY KEY CHECK (kind IN ('CONTAINER', 'BUILD')),
  round bigint NOT NULL
);
INSERT INTO turn_rounds (kind, round)
SELECT kind, coalesce((SELECT min(round) FROM turns WHERE turns.kind = kinds.kind), 1) FROM (VALUES ('CONTAINER'), ('BUILD')) AS kinds (kind);
