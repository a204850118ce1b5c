-- The servers that share this database, and where each is reached by the others.
CREATE TABLE replicas (
    id uuid PRIMARY KEY,
    url text NOT NULL,
    registered_at timestamptz NOT NULL DEFAULT now()
);
GRANT SELECT, INSERT, UPDATE, DELETE ON replicas TO agentapi_app;

-- The server whose agents the current transaction acts for; none, no rows.
CREATE FUNCTION current_replica() RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN NULLIF(current_setting('app.replica_id', TRUE), '')::uuid;

-- A server is found dead, or finds that it was: its agents are of any tenant.
CREATE POLICY agents_of_replica ON agents USING (replica_id = current_replica());
