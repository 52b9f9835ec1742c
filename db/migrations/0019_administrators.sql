-- Disabling an account counts the administrators that stay, while no other account can be made or disabled: by an index of the few, where all
-- accounts were read before.
-- Locks nothing that is in use.
-- Takes, and blocks nobody: reading users twice for the index, a second for a million.

-- index: finds administrators
CREATE INDEX CONCURRENTLY IF NOT EXISTS users_administrators ON users (id) WHERE administrator AND disabled_at IS NULL;
