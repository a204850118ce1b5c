-- An agent is a program of ours with its command, or runs at another server, which this is the URL of. The other server's token, if it
-- asks for one, is sealed in sealed_env.
ALTER TABLE agents ADD remote_url text;
ALTER TABLE agents DROP CONSTRAINT agents_command_check;
ALTER TABLE agents ADD CONSTRAINT agents_kind_check CHECK (
    CASE transport
        WHEN 'remote' THEN remote_url IS NOT NULL AND cardinality(command) = 0
        ELSE remote_url IS NULL AND cardinality(command) >= 1
    END
);
