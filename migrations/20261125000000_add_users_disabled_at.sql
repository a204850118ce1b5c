-- A disabled user cannot log in. `session_epoch` tells how often all of a user's sessions were ended at once: a session remembers the
-- number it was opened under, and a server that was not listening when it grew still finds the sessions that are to end.
ALTER TABLE users
    ADD COLUMN disabled_at timestamptz,
    ADD COLUMN session_epoch bigint NOT NULL DEFAULT 0;
