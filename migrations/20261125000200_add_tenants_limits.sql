-- A tenant's own rate limits; null where the server's settings hold.
ALTER TABLE tenants
    ADD COLUMN requests_per_minute integer CHECK (requests_per_minute BETWEEN 1 AND 1000000),
    ADD COLUMN burst_size integer CHECK (burst_size BETWEEN 0 AND 1000000),
    ADD COLUMN user_requests_per_minute integer CHECK (user_requests_per_minute BETWEEN 1 AND 1000000),
    ADD COLUMN user_burst_size integer CHECK (user_burst_size BETWEEN 0 AND 1000000);
CREATE POLICY tenants_limit ON tenants FOR UPDATE USING (id = current_tenant());
GRANT UPDATE (requests_per_minute, burst_size, user_requests_per_minute, user_burst_size) ON tenants TO agentapi_app;
