-- What a server asks for when it begins to listen: whose sessions were ended at once of late, and which are over by that.
--
-- A tenant counts too, so that suspending one is one fact, however many users it has; its users' counts grow beside it. Of a user,
-- one session may be spared: the one that ended the others. A tenant's time is that of its last change or of any of its users', to
-- the minute, so that who asks need not look at every tenant's users.
ALTER TABLE users
    ADD COLUMN sessions_ended_at timestamptz,
    ADD COLUMN spared_session uuid;
ALTER TABLE tenants
    ADD COLUMN session_epoch bigint NOT NULL DEFAULT 0,
    ADD COLUMN sessions_ended_at timestamptz;
GRANT UPDATE (session_epoch, sessions_ended_at) ON tenants TO agentapi_app;
