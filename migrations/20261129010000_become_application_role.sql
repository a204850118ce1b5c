-- Whoever connects must be able to become the role that the server works as. Being a member of it does not say so: from Postgres
-- 16 on, who makes a role without being a superuser is a member that may give the role to others and to itself, but cannot
-- become it. The versions before have no way to ask. So it is tried, and undone in either case.
DO $$
BEGIN
    SET LOCAL ROLE agentapi_app;
    RESET ROLE;
EXCEPTION
    WHEN insufficient_privilege THEN
        GRANT agentapi_app TO CURRENT_USER;
END
$$;
