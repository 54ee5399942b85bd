-- Calls by day: ids are UUIDv7, so a day is a range of ids, a page is a range of the primary key,
-- and retention drops a partition. Partitions are made by calls_open_day().

-- What many calls have in common, once. Roll-ups are kept by series, too.
create table call_series (
    id             integer generated always as identity primary key,
    project_id     integer not null,
    operation      text not null,
    model          text not null,
    target         text not null,
    provider       text not null,
    task           text,
    variant        text,
    prompt_version text,
    unique nulls not distinct (project_id, model, operation, target, provider, task, variant, prompt_version)
);

-- Widest columns first: no padding.
create table calls (
    id               uuid not null,
    trace_id         uuid not null,
    span_id          bigint not null,           -- the 16 hexadecimal digits, as a signed number
    parent_id        bigint,
    started_at       timestamptz not null,
    latency_us       bigint not null,
    ttft_us          bigint,
    cost_nano        bigint,                    -- null: unpriced
    block            bigint,                    -- where its texts lie in call_payloads; null: not kept
    series_id        integer not null,
    project_id       integer not null,
    key_id           integer not null,
    input_tokens     integer not null,
    output_tokens    integer not null,
    cached_tokens    integer not null,
    reasoning_tokens integer not null,
    outcome          smallint not null,         -- 0 ok, 1 error, 2 refused, 3 cancelled, 4 interrupted
    status           smallint not null,
    slot             smallint not null,         -- which call of its block
    stream           boolean not null,
    usage_estimated  boolean not null,
    client           text not null,
    finish           text,
    price_source     text,
    session          text,
    error_code       text,
    error            text,
    tags             jsonb,                     -- null: none
    primary key (id)
) partition by range (id);

create index calls_series on calls (series_id, id);
create index calls_key on calls (key_id, id);
create index calls_failed on calls (outcome, id) where outcome <> 0;
create index calls_error_code on calls (error_code, id) where error_code is not null;
create index calls_session on calls (session) where session is not null;
create index calls_tags on calls using gin (tags jsonb_path_ops) where tags is not null;
create index calls_latency on calls (latency_us);
create index calls_cost on calls (cost_nano) where cost_nano > 0;

-- Texts apart, so that lists and filters read narrow rows only, and a block of some calls of one day together, which
-- compresses a third better than one by one. See payloads.py for the bytes.
create table call_payloads (
    day   date not null,
    block bigint not null,
    body  bytea not null,
    primary key (day, block)
) partition by range (day);

-- A batch of the drain takes one step and numbers its blocks from there.
create sequence call_blocks increment by 10000;

-- Full text. A group holds up to some ten thousand calls of one day; a posting row holds, for one range of
-- word hashes, which calls of the group have which word. See postings.py for the bytes.
create table call_groups (
    day      date not null,
    group_id bigint generated always as identity,
    tier     smallint not null,
    bits     smallint not null,                 -- a group has 2^bits posting rows
    calls    integer not null,
    postings bigint not null,
    first_id uuid not null,
    last_id  uuid not null,
    ids      bytea not null,                    -- 16 bytes a call, rising
    primary key (day, group_id)
) partition by range (day);

create table call_postings (
    day      date not null,
    group_id bigint not null,
    bucket   integer not null,                  -- the leading `bits` of the hash
    body     bytea not null,
    primary key (day, group_id, bucket)
) partition by range (day);

-- Calls that no group holds yet, a row for each day of a drained batch. The calls of a block stand together, in the
-- order of their slots.
create table call_unindexed (
    batch  bigint generated always as identity primary key,
    day    date not null,
    ids    bytea not null,                      -- 16 bytes a call
    blocks bigint[] not null,
    sizes  smallint[] not null                  -- calls of each block
);

create table call_rollups_5m (
    bucket           timestamptz not null,
    series_id        integer not null,
    key_id           integer not null,          -- -1: all keys together
    requests         integer not null,
    errors           integer not null,
    refused          integer not null,
    cancelled        integer not null,
    interrupted      integer not null,
    unpriced         integer not null,
    input_tokens     bigint not null,
    output_tokens    bigint not null,
    cached_tokens    bigint not null,
    reasoning_tokens bigint not null,
    cost_nano        bigint not null,
    latency          bytea not null,            -- histograms: see histogram.py
    ttft             bytea not null,
    tpot             bytea not null,
    primary key (key_id, bucket, series_id)
) partition by range (bucket);

create table call_rollups_1h (like call_rollups_5m including all);
create table call_rollups_1d (like call_rollups_5m including all);

-- How far each spool file is drained, moved in the transaction that stores the calls.
create table spool_positions (
    segment    text primary key,
    position   bigint not null,
    finished   boolean not null,
    touched_at timestamptz not null default now()
);

-- Streams begun in a file that is gone by now, whose end has not come.
create table spool_opened (
    id     uuid primary key,
    worker text not null,
    record bytea not null
);

-- What was deleted while calls may still have waited in a spool: the drain asks here before it stores.
create table call_erasures (
    id         bigint generated always as identity primary key,
    project_id integer,                         -- null: every project
    call_id    uuid,
    key_id     integer,
    session    text,
    tag_name   text,
    tag_value  text,
    before     timestamptz not null,
    check (num_nonnulls(call_id, key_id, session, tag_name) = 1)
);

create function calls_floor(day date) returns uuid
language sql immutable strict
return (lpad(to_hex((extract(epoch from day) * 1000)::bigint), 12, '0') || '70008000000000000000')::uuid;

-- Make the partitions of a day (UTC). Attaching locks out nobody who reads or writes other days.
create function calls_open_day(day date) returns void
language plpgsql as $$
declare
    parent text;
    child  text;
    low    text;
    high   text;
begin
    perform pg_advisory_xact_lock(hashtext('calls_open_day'));
    foreach parent in array array['calls', 'call_payloads', 'call_groups', 'call_postings', 'call_rollups_5m'] loop
        child := parent || to_char(day, '_YYYYMMDD');
        continue when to_regclass(child) is not null;
        if parent = 'calls' then
            low := calls_floor(day)::text;
            high := calls_floor(day + 1)::text;
        elsif parent = 'call_rollups_5m' then
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
        elsif parent = 'call_rollups_5m' then
            execute format('alter table %I set (fillfactor = 70)', child);
        end if;
        execute format('alter table %I attach partition %I for values from (%L) to (%L)', parent, child, low, high);
    end loop;
end $$;

-- Drop the partitions of `parent` for days before `day`; how many.
create function calls_drop_before(parent text, day date) returns integer
language plpgsql as $$
declare
    child text;
    gone  integer := 0;
begin
    for child in
        select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
        where i.inhparent = to_regclass(parent) and c.relname < parent || to_char(day, '_YYYYMMDD')
    loop
        execute format('drop table %I', child);
        gone := gone + 1;
    end loop;
    return gone;
end $$;
