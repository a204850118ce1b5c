-- An agent may be a program that speaks the Agent Client Protocol: what becomes of its requests for leave, and the last session it had,
-- which it may be able to load again.
ALTER TABLE agents ADD approval_policy text CHECK (approval_policy IN ('ask', 'allow', 'deny'));
ALTER TABLE agents ADD acp_session text CHECK (length(acp_session) <= 1024);
ALTER TABLE agents ADD CONSTRAINT agents_acp_check CHECK (
    CASE transport WHEN 'acp' THEN approval_policy IS NOT NULL ELSE approval_policy IS NULL AND acp_session IS NULL END
);
