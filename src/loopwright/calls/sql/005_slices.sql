-- What calls have in common beside their series, once: a tag, a client, the code of an error. Roll-ups are kept by it.
create table call_slices (
    id         integer generated always as identity primary key,
    project_id integer not null,
    kind       text not null check (kind in ('tag', 'client', 'error')),
    name       text not null,                   -- of the tag; empty for the others
    made_at    timestamptz not null default now(),
    value      text,                            -- null: all that came when there was no room for more
    unique nulls not distinct (project_id, kind, name, value)
);

-- Many and mostly zero, so a zero is a null here: it takes no room. Widest columns first: no padding.
create table call_slice_rollups_5m (
    bucket           timestamptz not null,
    input_tokens     bigint,
    output_tokens    bigint,
    cached_tokens    bigint,
    reasoning_tokens bigint,
    cost_nano        bigint,
    cache_nano       bigint,
    cascade_nano     bigint,
    wasted_nano      bigint,
    series_id        integer not null,
    slice_id         integer not null,
    requests         integer not null,
    errors           integer,
    refused          integer,
    cancelled        integer,
    interrupted      integer,
    unpriced         integer,
    cache_hits       integer,
    latency          bytea not null,
    ttft             bytea not null,
    tpot             bytea not null,
    primary key (slice_id, bucket, series_id)
) partition by range (bucket);

create table call_slice_rollups_1h (like call_slice_rollups_5m including all);
create table call_slice_rollups_1d (like call_slice_rollups_5m including all);

-- Answers given again, what that saved, what a cascade saved and what was wasted; null: nothing, or a call from before.
alter table call_rollups_5m add column cache_hits integer, add column cache_nano bigint,
    add column cascade_nano bigint, add column wasted_nano bigint;
alter table call_rollups_1h add column cache_hits integer, add column cache_nano bigint,
    add column cascade_nano bigint, add column wasted_nano bigint;
alter table call_rollups_1d add column cache_hits integer, add column cache_nano bigint,
    add column cascade_nano bigint, add column wasted_nano bigint;

-- As before, and the five-minute roll-ups of slices with them.
create or replace function calls_open_day(day date) returns void
language plpgsql as $$
declare
    parent text;
    child  text;
    low    text;
    high   text;
begin
    perform pg_advisory_xact_lock(hashtext('calls_open_day'));
    foreach parent in array
        array['calls', 'call_payloads', 'call_groups', 'call_postings', 'call_rollups_5m', 'call_slice_rollups_5m'] loop
        child := parent || to_char(day, '_YYYYMMDD');
        continue when to_regclass(child) is not null;
        if parent = 'calls' then
            low := calls_floor(day)::text;
            high := calls_floor(day + 1)::text;
        elsif parent in ('call_rollups_5m', 'call_slice_rollups_5m') then
            low := day::text || ' 00:00:00+00';
            high := (day + 1)::text || ' 00:00:00+00';
        else
            low := day::text;
            high := (day + 1)::text;
        end if;
        execute format('create table %I (like %I including defaults including constraints including indexes)', child, parent);
        if parent = 'call_payloads' then
            execute format('alter table %I alter column body set storage external', child);
        elsif parent = 'call_groups' then
            execute format('alter table %I alter column ids set storage external', child);
        elsif parent = 'call_postings' then
            execute format('alter table %I alter column body set storage external', child);
        elsif parent in ('call_rollups_5m', 'call_slice_rollups_5m') then
            execute format('alter table %I set (fillfactor = 70)', child);
        end if;
        execute format('alter table %I attach partition %I for values from (%L) to (%L)', parent, child, low, high);
    end loop;
end $$;

-- Views of the charts that people keep, by project; the definition is what the page asks.
create table dashboards (
    id         bigint generated always as identity primary key,
    project_id integer not null,
    name       text not null check (char_length(name) between 1 and 100),
    definition jsonb not null,
    made_by    text not null,
    changed_at timestamptz not null default now(),
    unique (project_id, name)
);
