-- Keys for machines. Each acts as the user who made it.
CREATE TABLE api_keys (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    -- Of 32 random bytes, which nobody guesses: no slow hash is needed.
    secret_sha256 bytea NOT NULL CHECK (length(secret_sha256) = 32),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    revoked_at timestamptz,
    -- To some minutes.
    last_used_at timestamptz,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id)
);
CREATE INDEX api_keys_of_user ON api_keys (tenant_id, user_id, id) WHERE revoked_at IS NULL;

ALTER TABLE api_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE api_keys FORCE ROW LEVEL SECURITY;
CREATE POLICY api_keys_of_tenant ON api_keys USING (tenant_id = current_tenant());
-- Neither whose a key is nor its secret ever changes, and what was revoked stays on record.
GRANT SELECT, INSERT, UPDATE (revoked_at, last_used_at) ON api_keys TO agentapi_app;
