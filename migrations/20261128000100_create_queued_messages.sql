-- User messages that wait until their agent is idle. One goes when its message is written, in the same transaction.
CREATE TABLE queued_messages (
    tenant_id uuid NOT NULL,
    agent_id uuid NOT NULL,
    -- In the order in which they were accepted.
    id uuid NOT NULL,
    content text NOT NULL,
    idempotency_key text CHECK (length(idempotency_key) BETWEEN 1 AND 255),
    request_digest bytea CHECK (length(request_digest) = 32),
    created_by uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    -- The life of the agent that is being given it, or was when that life ended.
    claimed_by bigint,
    -- When the agent did not take it; it is not tried again.
    failed_at timestamptz,
    PRIMARY KEY (tenant_id, agent_id, id),
    CHECK ((idempotency_key IS NULL) = (request_digest IS NULL)),
    FOREIGN KEY (tenant_id, agent_id) REFERENCES agents (tenant_id, id),
    FOREIGN KEY (tenant_id, created_by) REFERENCES users (tenant_id, id)
);
CREATE UNIQUE INDEX queued_messages_by_idempotency_key ON queued_messages (tenant_id, agent_id, idempotency_key)
    WHERE idempotency_key IS NOT NULL;

ALTER TABLE queued_messages ENABLE ROW LEVEL SECURITY;
ALTER TABLE queued_messages FORCE ROW LEVEL SECURITY;
CREATE POLICY queued_messages_of_tenant ON queued_messages USING (tenant_id = current_tenant());
GRANT SELECT, INSERT, UPDATE, DELETE ON queued_messages TO agentapi_app;
