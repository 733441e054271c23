-- Calls of tools of MCP servers: a row before each is sent, and how it ended. No arguments and no results.
CREATE TABLE mcp_tool_runs (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id uuid NOT NULL UNIQUE,
    user_id text NOT NULL,
    server_id uuid NOT NULL,
    server text NOT NULL,
    tool text NOT NULL,
    started_at timestamptz NOT NULL,
    ended_at timestamptz,
    outcome text CHECK (outcome IN ('SUCCEEDED', 'TOOL_ERROR', 'FAILED', 'CANCELLED', 'UNKNOWN')),
    error_code text,
    message text,
    duration_micros bigint,
    result_bytes bigint,
    -- The caller's own name for the call, so that a retry is not sent again, and what the call was.
    command_key text,
    fingerprint bytea,
    -- Which life of which node made the call.
    node text NOT NULL,
    CHECK ((ended_at IS NULL) = (outcome IS NULL)),
    CHECK ((command_key IS NULL) = (fingerprint IS NULL))
);
CREATE INDEX mcp_tool_runs_by_user ON mcp_tool_runs (user_id, number);
CREATE INDEX mcp_tool_runs_by_server ON mcp_tool_runs (server, number);
CREATE UNIQUE INDEX mcp_tool_runs_by_key ON mcp_tool_runs (user_id, command_key) WHERE command_key IS NOT NULL;
CREATE INDEX mcp_tool_runs_open ON mcp_tool_runs (number) WHERE ended_at IS NULL;
