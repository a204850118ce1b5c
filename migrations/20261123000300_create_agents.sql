CREATE TABLE agents (
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    id uuid NOT NULL,
    name text CHECK (length(name) BETWEEN 1 AND 200),
    agent_type text NOT NULL,
    transport text NOT NULL,
    command text[] NOT NULL CHECK (cardinality(command) >= 1),
    -- The agent's own environment variables, sealed with TOKEN_ENCRYPTION_KEY: they may hold its user's secrets.
    sealed_env bytea NOT NULL,
    terminal_width int NOT NULL,
    terminal_height int NOT NULL,
    state text NOT NULL CHECK (state IN ('running', 'stopped', 'exited', 'lost')),
    exit_code int,
    -- The server that runs it, or ran it last.
    replica_id uuid NOT NULL,
    created_by uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, created_by) REFERENCES users (tenant_id, id)
);
CREATE INDEX agents_running_by_replica ON agents (replica_id) WHERE state = 'running';

ALTER TABLE agents ENABLE ROW LEVEL SECURITY;
ALTER TABLE agents FORCE ROW LEVEL SECURITY;
CREATE POLICY agents_of_tenant ON agents USING (tenant_id = current_tenant());
GRANT SELECT, INSERT, UPDATE ON agents TO agentapi_app;
