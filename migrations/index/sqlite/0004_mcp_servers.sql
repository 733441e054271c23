-- MCP servers that there are, as their events say. What is asked of them is answered from memory: this is for whoever reads
-- the database.
CREATE TABLE mcp_servers (
    generation INTEGER NOT NULL,
    id BLOB NOT NULL,
    name TEXT NOT NULL,
    -- FILE or REGISTERED.
    source TEXT NOT NULL,
    config TEXT NOT NULL CHECK (json_valid(config)),
    enabled BOOLEAN NOT NULL,
    -- UNKNOWN, UP or DOWN.
    status TEXT NOT NULL,
    -- Which version the server says it has.
    version TEXT,
    -- Why it is down.
    error TEXT,
    -- The last one that found something else than the one before.
    last_health_check TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    -- Which event of the server was the last.
    stream_version INTEGER NOT NULL,
    PRIMARY KEY (generation, id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX mcp_servers_by_name ON mcp_servers (generation, name);
