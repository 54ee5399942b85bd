-- Traces: the calls of one, found. A call that nobody's span stands over has a trace of its own, with its own id.
create index calls_trace on calls (trace_id) where parent_id is not null or client like 'otlp:%';

-- The latest sessions: calls_session finds the calls of one.
create index calls_in_session on calls (id) where session is not null;

-- Traces of which something came or went: telemetry/folding.py sums them up anew. A row may stand here more than once.
create table trace_touched (
    trace_id   uuid not null,
    first_day  date,                            -- what came or went began between these (UTC), so days that cannot
    last_day   date,                            -- hold it are left alone; null: any day
    project_id integer not null
);
