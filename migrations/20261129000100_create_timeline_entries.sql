-- What agents do beside what they say. An entry changes until the turn it belongs to is over, and its event with it: who watches resumes
-- after an event.
CREATE TABLE timeline_entries (
    tenant_id uuid NOT NULL,
    agent_id uuid NOT NULL,
    -- Place in the agent's timeline, from 0.
    id bigint NOT NULL CHECK (id >= 0),
    kind text NOT NULL CHECK (kind IN ('turn', 'tool_call', 'plan', 'thought', 'approval', 'usage', 'session')),
    data jsonb NOT NULL,
    time timestamptz NOT NULL,
    event_id bigint NOT NULL,
    PRIMARY KEY (tenant_id, agent_id, id),
    FOREIGN KEY (tenant_id, agent_id) REFERENCES agents (tenant_id, id)
);
CREATE INDEX timeline_entries_by_event ON timeline_entries (tenant_id, agent_id, event_id);

ALTER TABLE timeline_entries ENABLE ROW LEVEL SECURITY;
ALTER TABLE timeline_entries FORCE ROW LEVEL SECURITY;
CREATE POLICY timeline_entries_of_tenant ON timeline_entries USING (tenant_id = current_tenant());
GRANT SELECT, INSERT, UPDATE ON timeline_entries TO agentapi_app;
