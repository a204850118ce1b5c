-- The key that a client gave its request, so that the same request again is answered and not done again; what it asked for, as a
-- digest; and which entry of the queue the message was, if it was one.
ALTER TABLE messages
    ADD idempotency_key text CHECK (length(idempotency_key) BETWEEN 1 AND 255),
    ADD request_digest bytea CHECK (length(request_digest) = 32),
    ADD queue_id uuid,
    ADD CHECK ((idempotency_key IS NULL) = (request_digest IS NULL));
CREATE UNIQUE INDEX messages_by_idempotency_key ON messages (tenant_id, agent_id, idempotency_key)
    WHERE idempotency_key IS NOT NULL;
