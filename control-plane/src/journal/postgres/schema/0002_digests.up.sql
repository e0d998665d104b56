-- Each record's digest beside it, so that a reader sees whether it is what was written, and a fork is found without reading
-- a record. It is the digest that the process writes: SHA-256 over the domain and the bytes, each after its length.
ALTER TABLE agentgate.records ADD COLUMN digest bytea;
UPDATE agentgate.records
SET digest = sha256(int8send(18) || 'agentgate/record/1'::bytea || int8send(octet_length(bytes)) || bytes);
ALTER TABLE agentgate.records
    ALTER COLUMN digest SET NOT NULL,
    ADD CONSTRAINT a_digest_has_32_bytes CHECK (octet_length(digest) = 32);
