-- Which life of the agent it is. A server whose agent runs elsewhere by now, or was found lost, writes nothing more of it.
ALTER TABLE agents ADD fence bigint NOT NULL DEFAULT 1 CHECK (fence >= 1);
