-- Removes the journal, with everything in it.
DROP TABLE agentgate.slots;
DROP TABLE agentgate.bodies;
DROP TABLE agentgate.records;
DROP TABLE agentgate.head;
