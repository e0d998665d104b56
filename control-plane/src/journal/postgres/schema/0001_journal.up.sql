-- The journal: one order of records, the bodies beside them, and the slots.

-- One row. Who holds its lock writes; nobody else does. So the order of commits is the order of sequences.
CREATE TABLE agentgate.head (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    sequence bigint NOT NULL CHECK (sequence >= 0),
    -- The journal's clock: never before what it was, whichever machine serves the database.
    clock timestamptz NOT NULL
);
INSERT INTO agentgate.head (sequence, clock) VALUES (0, clock_timestamp());
-- It changes with each group: room beside the row keeps it on its page.
ALTER TABLE agentgate.head SET (fillfactor = 10, autovacuum_vacuum_threshold = 1000);

CREATE TABLE agentgate.records (
    sequence bigint PRIMARY KEY CHECK (sequence > 0),
    stream bytea NOT NULL CHECK (octet_length(stream) = 32),
    version bigint NOT NULL CHECK (version > 0),
    id bytea NOT NULL CHECK (octet_length(id) = 32),
    bytes bytea NOT NULL,
    -- The last guards, should a writer ever be wrong.
    CONSTRAINT one_record_a_version UNIQUE (stream, version),
    CONSTRAINT one_record_an_id UNIQUE (id)
);

CREATE TABLE agentgate.bodies (
    address bytea PRIMARY KEY CHECK (octet_length(address) = 32),
    bytes bytea NOT NULL
);
-- Ciphertext does not shrink.
ALTER TABLE agentgate.bodies ALTER COLUMN bytes SET STORAGE EXTERNAL;

CREATE TABLE agentgate.slots (
    name bytea PRIMARY KEY CHECK (octet_length(name) = 32),
    value bytea NOT NULL
);
ALTER TABLE agentgate.slots ALTER COLUMN value SET STORAGE EXTERNAL;
