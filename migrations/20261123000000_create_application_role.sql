-- The role that the server works as: it owns nothing, so row-level security always holds for it. Roles belong to the whole
-- cluster; several databases, or several servers migrating at once, may make it at the same moment.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'agentapi_app') THEN
        CREATE ROLE agentapi_app NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS;
    END IF;
EXCEPTION
    WHEN duplicate_object OR unique_violation THEN NULL;
END
$$;

-- Whoever connects must be able to become it.
DO $$
BEGIN
    IF NOT pg_has_role(CURRENT_USER, 'agentapi_app', 'MEMBER') THEN
        GRANT agentapi_app TO CURRENT_USER;
    END IF;
END
$$;

-- The tenant that the current transaction acts for; no tenant, no rows.
CREATE FUNCTION current_tenant() RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN NULLIF(current_setting('app.tenant_id', TRUE), '')::uuid;
