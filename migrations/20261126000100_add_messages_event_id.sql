-- The event that told of the message as it is: who watches an agent resumes after it.
ALTER TABLE messages ADD event_id bigint NOT NULL DEFAULT 0;
