-- What is watched for drift, and what was found. Texts are never here: calls are named, vectors are sealed.

create table drift_watches (
    id             integer generated always as identity primary key,
    project_id     integer not null,
    kind           text not null check (kind in ('task', 'model')),
    name           text not null,
    embedder       text not null,               -- the model that makes the vectors
    rolling        boolean not null,            -- whether quiet windows become the reference
    reference_size integer not null,
    window_size    integer not null,
    per_day        integer not null,            -- calls that are looked at on one day (UTC)
    alpha          double precision not null,   -- false alarms of a window
    state          text not null default 'learning' check (state in ('learning', 'watching', 'paused')),
    seen_to        uuid,                        -- every call up to here was considered
    window_number  integer not null default 1,
    day            date not null default (now() at time zone 'utc')::date,
    taken          integer not null default 0,  -- of `per_day`
    topics         bytea,                       -- centres of the groups of the reference, sealed
    sealed_by      text,
    learnt_at      timestamptz,
    problem        text,                        -- why the last round did nothing
    created_at     timestamptz not null default now(),
    created_by     text not null,
    unique (project_id, kind, name)
);

-- A call that was looked at. It goes when its call goes.
create table drift_points (
    watch_id      integer not null references drift_watches on delete cascade,
    call_id       uuid not null,
    number        integer not null,             -- of the window; 0: the reference
    key_id        integer not null,
    input_length  integer not null,             -- characters
    output_length integer,                      -- null: no answer
    language      text,
    output_language text,
    refused       boolean,
    malformed     boolean,                      -- null: no form was asked for
    topic         smallint,
    vector        bytea not null,               -- of the input and of the output, half precision, sealed
    sealed_by     text,
    primary key (watch_id, number, call_id)
);
create index drift_points_call on drift_points (call_id);

-- What each look said: numbers only, so it may stay.
create table drift_looks (
    watch_id integer not null references drift_watches on delete cascade,
    number   integer not null,
    calls    integer not null,                  -- of the window, so far
    at       timestamptz not null,              -- of the last of them
    features jsonb not null,
    primary key (watch_id, number, calls)
);

create table drift_findings (
    id         integer generated always as identity primary key,
    watch_id   integer not null references drift_watches on delete cascade,
    number     integer not null,
    calls      integer not null,
    since      timestamptz not null,            -- of the first call of the window
    found_at   timestamptz not null default now(),
    state      text not null default 'open' check (state in ('open', 'accepted', 'dismissed', 'passed')),
    features   jsonb not null,                  -- those that moved
    fresh      uuid[] not null,                 -- example calls of now
    former     uuid[] not null,                 -- of then
    closed_at  timestamptz,
    closed_by  text
);
create unique index drift_findings_open on drift_findings (watch_id) where state = 'open';

-- A dataset version that is asked again and again, to see whether what answers is still the same.
create table canaries (
    id          integer generated always as identity primary key,
    project_id  integer not null,
    name        text not null,
    key_id      integer not null,               -- who asks
    dataset     text not null,
    version     integer not null,
    examples    integer not null,
    model       text not null,                  -- or task/NAME
    parameters  jsonb not null,
    repeats     integer not null,               -- answers to each example at the time of the baseline
    every_s     double precision not null,
    budget_nano bigint,                         -- of one day (UTC); null: the key's budgets alone
    alpha       double precision not null,
    state       text not null default 'learning'
        check (state in ('learning', 'quiet', 'changed', 'paused')),
    baseline_id integer,                        -- the run whose answers are held against
    next_at     timestamptz not null default now(),
    problem     text,
    created_at  timestamptz not null default now(),
    created_by  text not null,
    unique (project_id, name)
);

create table canary_runs (
    id         integer generated always as identity primary key,
    canary_id  integer not null references canaries on delete cascade,
    kind       text not null check (kind in ('baseline', 'replay')),
    state      text not null default 'running' check (state in ('running', 'quiet', 'changed', 'learnt', 'stopped')),
    began_at   timestamptz not null default now(),
    ended_at   timestamptz,
    cost_nano  bigint not null default 0,
    figures    jsonb,                           -- tests and counts
    problem    text
);
create index canary_runs_of on canary_runs (canary_id, id);

create table canary_answers (
    run_id    integer not null references canary_runs on delete cascade,
    position  integer not null,                 -- of the example, from 0
    repeat    smallint not null,                -- of a replay: 1 is the confirmation
    call_id   uuid,
    changed   boolean,
    body      bytea not null,                   -- sealed: what was asked and answered, and what the answer says of itself
    sealed_by text,
    primary key (run_id, position, repeat)
);
create index canary_answers_call on canary_answers (call_id) where call_id is not null;
