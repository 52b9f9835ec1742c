-- Who administers, who may no longer sign in, and from where a session was begun. The first account is an administrator; of an existing
-- installation that is the oldest.
-- Locks for a moment: users (ACCESS EXCLUSIVE, SHARE ROW EXCLUSIVE), tokens (ACCESS EXCLUSIVE). No table is rewritten.
-- Takes, and blocks nobody: reading users once.

-- part: adds what is known of accounts
ALTER TABLE users
  ADD COLUMN administrator boolean NOT NULL DEFAULT false,
  ADD COLUMN disabled_at timestamptz;

-- part: makes the oldest account the administrator
UPDATE users SET administrator = true WHERE id = (SELECT id FROM users ORDER BY created_at, id LIMIT 1);

-- part: adds from where a session was begun
ALTER TABLE tokens
  ADD COLUMN address text,
  ADD COLUMN user_agent text;

-- part: makes the addresses of accounts
-- From where an account signed in before: the wrong passwords of strangers, from anywhere else, do not keep it out there. A few rows each.
CREATE TABLE known_addresses (
  user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
  address text NOT NULL,
  last_used_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (user_id, address)
);
