CREATE TABLE messages (
    tenant_id uuid NOT NULL,
    agent_id uuid NOT NULL,
    -- Place in the agent's conversation, from 0.
    id bigint NOT NULL CHECK (id >= 0),
    role text NOT NULL CHECK (role IN ('agent', 'user')),
    content text NOT NULL,
    time timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, agent_id, id),
    FOREIGN KEY (tenant_id, agent_id) REFERENCES agents (tenant_id, id)
);

ALTER TABLE messages ENABLE ROW LEVEL SECURITY;
ALTER TABLE messages FORCE ROW LEVEL SECURITY;
CREATE POLICY messages_of_tenant ON messages USING (tenant_id = current_tenant());
GRANT SELECT, INSERT, UPDATE ON messages TO agentapi_app;
