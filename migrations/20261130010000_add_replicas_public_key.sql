-- The key by which servers know what another one signs, and a code (by a key of TOKEN_ENCRYPTION_KEY) that authenticates the row, so
-- that a row which was changed or added in Postgres alone is ignored. Rows of servers of a version before have neither.
ALTER TABLE replicas
    ADD COLUMN public_key bytea,
    ADD COLUMN mac bytea;
