CREATE TABLE audit_entries (
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    id uuid NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    -- The user who acted; NULL for the command line.
    actor uuid,
    action text NOT NULL,
    -- What was acted on: an agent's, user's or session's id.
    subject text NOT NULL,
    PRIMARY KEY (tenant_id, id)
);

ALTER TABLE audit_entries ENABLE ROW LEVEL SECURITY;
ALTER TABLE audit_entries FORCE ROW LEVEL SECURITY;
CREATE POLICY audit_entries_of_tenant ON audit_entries USING (tenant_id = current_tenant());
-- Append-only: what happened cannot be changed or removed by the server.
GRANT SELECT, INSERT ON audit_entries TO agentapi_app;
