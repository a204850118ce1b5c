CREATE TABLE tenants (
    id uuid PRIMARY KEY,
    slug text NOT NULL CONSTRAINT tenants_slug_key UNIQUE CHECK (slug ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'),
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    created_at timestamptz NOT NULL DEFAULT now()
);

-- Logging in looks a tenant up by its slug before anybody is authenticated, so reading is open; a row holds no secrets.
ALTER TABLE tenants ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenants FORCE ROW LEVEL SECURITY;
CREATE POLICY tenants_readable ON tenants FOR SELECT USING (TRUE);
CREATE POLICY tenants_own ON tenants FOR INSERT WITH CHECK (id = current_tenant());
GRANT SELECT, INSERT ON tenants TO agentapi_app;
