-- The digests follow from the bytes.
ALTER TABLE agentgate.records DROP COLUMN digest;
