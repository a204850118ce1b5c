-- Nobody of a suspended tenant can log in.
ALTER TABLE tenants ADD COLUMN suspended_at timestamptz;
CREATE POLICY tenants_suspend ON tenants FOR UPDATE USING (id = current_tenant());
GRANT UPDATE (suspended_at) ON tenants TO agentapi_app;
