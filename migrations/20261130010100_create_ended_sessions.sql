-- Sessions that were ended one by one, kept for as long as they could have lived: a record that is put back into Redis lets nobody in.
CREATE TABLE ended_sessions (
    tenant_id uuid NOT NULL,
    session_id uuid NOT NULL,
    user_id uuid NOT NULL,
    ended_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, session_id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id)
);
CREATE INDEX ended_sessions_by_time ON ended_sessions (tenant_id, ended_at);

ALTER TABLE ended_sessions ENABLE ROW LEVEL SECURITY;
ALTER TABLE ended_sessions FORCE ROW LEVEL SECURITY;
CREATE POLICY ended_sessions_of_tenant ON ended_sessions USING (tenant_id = current_tenant());
-- Deleted once they are past the absolute end of any session.
GRANT SELECT, INSERT, DELETE ON ended_sessions TO agentapi_app;
