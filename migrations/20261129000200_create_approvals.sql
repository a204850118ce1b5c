-- What agents asked leave to do. One that is pending here counts as expired once its time is over, or the life of the agent that asked.
CREATE TABLE approvals (
    tenant_id uuid NOT NULL,
    agent_id uuid NOT NULL,
    id uuid NOT NULL,
    -- The life of the agent that asked.
    fence bigint NOT NULL,
    tool_call jsonb NOT NULL,
    options jsonb NOT NULL,
    state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'answered', 'expired', 'cancelled')),
    -- The answer, and who gave it.
    option_id text,
    answered_by uuid,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    settled_at timestamptz,
    PRIMARY KEY (tenant_id, agent_id, id),
    FOREIGN KEY (tenant_id, agent_id) REFERENCES agents (tenant_id, id),
    FOREIGN KEY (tenant_id, answered_by) REFERENCES users (tenant_id, id),
    CHECK ((state = 'answered') = (option_id IS NOT NULL) AND (state = 'answered') = (answered_by IS NOT NULL)),
    CHECK ((state = 'pending') = (settled_at IS NULL))
);

ALTER TABLE approvals ENABLE ROW LEVEL SECURITY;
ALTER TABLE approvals FORCE ROW LEVEL SECURITY;
CREATE POLICY approvals_of_tenant ON approvals USING (tenant_id = current_tenant());
GRANT SELECT, INSERT, UPDATE ON approvals TO agentapi_app;
