-- Spans by day. An id is a UUIDv7 of the start with a hash of trace and span behind it: the same span twice is the same
-- row, a day is a range of ids, and retention drops a partition. Partitions are made by spans_open_day().

-- Widest columns first: no padding.
create table spans (
    id            uuid not null,
    trace_id      uuid not null,
    call_id       uuid,                         -- the call on record that this span is
    span_id       bigint not null,              -- the 16 hexadecimal digits, as a signed number: as in calls
    parent_id     bigint,
    started_ns    bigint not null,              -- Unix nanoseconds
    duration_us   bigint not null,
    cost_nano     bigint,                       -- null: unpriced, or nothing to price; of a call: see there
    block         bigint,                       -- where its texts lie in span_texts; null: it has none
    project_id    integer not null,
    key_id        integer not null,
    input_tokens  integer not null,             -- of a call: as there, so never count both
    output_tokens integer not null,
    slot          smallint not null,            -- which span of its block
    kind          smallint not null,            -- see KINDS in telemetry/rows.py
    status        smallint not null,            -- 0 unset, 1 ok, 2 error
    name          text not null,
    service       text not null,
    session       text,
    model         text,
    tool          text,                         -- name of the tool, the agent or the data source, by kind
    error         text,                         -- null where texts are sealed: it lies with them
    tags          jsonb,                        -- null: none
    primary key (id)
) partition by range (id);

create index spans_trace on spans (trace_id);
create index spans_session on spans (session) where session is not null;
create index spans_call on spans (call_id) where call_id is not null;

-- What programs logged, where OpenTelemetry's logs say so: events of spans that come by themselves.
create table span_logs (
    id         uuid not null,                   -- UUIDv7 of its time, with a hash of what it says
    trace_id   uuid,
    span_id    bigint,
    at_ns      bigint not null,
    block      bigint not null,
    project_id integer not null,
    key_id     integer not null,
    slot       smallint not null,
    severity   smallint not null,               -- OpenTelemetry's number, 0 when none was given
    pending    smallint not null,               -- 1: a score, 2: the texts of a call, that waits for its call; 0: neither
    name       text not null,                   -- of the event; empty for a plain line
    service    text not null,
    primary key (id)
) partition by range (id);

create index span_logs_trace on span_logs (trace_id) where trace_id is not null;
create index span_logs_pending on span_logs (id) where pending <> 0;
create index span_logs_project on span_logs (project_id, id);

-- Texts apart from the rows that lists read, some spans (or logs) of one day together. See packing.py for the bytes.
create table span_texts (
    day       date not null,
    block     bigint not null,
    body      bytea not null,
    sealed_by text,                             -- which key; null: not sealed
    primary key (day, block)
) partition by range (day);

-- A request takes one step and numbers its blocks from there.
create sequence span_blocks increment by 1000;

-- Points of metrics, in small numbers: retention bounds their age, telemetry/metrics.py how many there are.
create table metric_series (
    id         integer generated always as identity primary key,
    project_id integer not null,
    name       text not null,
    kind       text not null,                   -- gauge, sum, histogram, exponential, summary
    unit       text not null,
    service    text not null,
    attributes jsonb not null,
    digest     bytea not null,                  -- of all that makes it this series
    unique (project_id, digest)
);

create index metric_series_name on metric_series (project_id, name);

create table metric_points (
    series_id integer not null references metric_series on delete cascade,
    at        timestamptz not null,
    value     double precision,                 -- of a gauge or a sum; the sum of a distribution
    count     bigint,                           -- of a distribution
    shape     jsonb,                            -- bounds and counts of a distribution
    primary key (series_id, at)
);

create index metric_points_at on metric_points (at);

-- Make the partitions of a day (UTC). Attaching locks out nobody who reads or writes other days.
create function spans_open_day(day date) returns void
language plpgsql as $$
declare
    parent text;
    child  text;
    low    text;
    high   text;
begin
    perform pg_advisory_xact_lock(hashtext('spans_open_day'));
    foreach parent in array array['spans', 'span_logs', 'span_texts'] loop
        child := parent || to_char(day, '_YYYYMMDD');
        continue when to_regclass(child) is not null;
        if parent = 'span_texts' then
            low := day::text;
            high := (day + 1)::text;
        else
            low := calls_floor(day)::text;
            high := calls_floor(day + 1)::text;
        end if;
        execute format('create table %I (like %I including defaults including constraints including indexes)', child, parent);
        if parent = 'span_texts' then
            execute format('alter table %I alter column body set storage external', child);
        end if;
        execute format('alter table %I attach partition %I for values from (%L) to (%L)', parent, child, low, high);
    end loop;
end $$;
