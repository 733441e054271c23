-- MCP servers that there are, as their events say. What is asked of them is answered from memory: this is for whoever reads
-- the database.
CREATE UNLOGGED TABLE mcp_servers (
    generation bigint NOT NULL,
    id uuid NOT NULL,
    name text NOT NULL,
    -- FILE or REGISTERED.
    source text NOT NULL,
    config jsonb NOT NULL,
    enabled boolean NOT NULL,
    -- UNKNOWN, UP or DOWN.
    status text NOT NULL,
    -- Which version the server says it has.
    version text,
    -- Why it is down.
    error text,
    -- The last one that found something else than the one before.
    last_health_check timestamptz,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    -- Which event of the server was the last.
    stream_version bigint NOT NULL,
    PRIMARY KEY (generation, id)
);
CREATE UNIQUE INDEX mcp_servers_by_name ON mcp_servers (generation, name);
