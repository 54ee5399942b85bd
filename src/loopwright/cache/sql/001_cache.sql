-- Answers given before, shared by all workers and machines; what hits saved; how alike two questions must be.

create table cache_entries (
    key        bytea primary key,       -- of the canonical question, its project and its model
    call_id    uuid not null,           -- the call that was answered so
    stored_at  timestamptz not null default now(),
    expires_at timestamptz not null,
    started_ns bigint not null,         -- when that call began, Unix time
    cost_nano  bigint,                  -- null: unpriced
    project_id integer not null,
    key_id     integer not null,
    size       integer not null,
    model      text not null,
    target     text not null,
    session    text,
    tags       jsonb not null,
    usage      jsonb,
    body       bytea not null,          -- OpenAI's non-streamed form
    partition  bytea,                   -- everything but the last user message; null: exact only
    guard      text,                    -- language, numbers and negations of that message
    vector     vector
);
create index cache_entries_expiry on cache_entries (expires_at);
create index cache_entries_call on cache_entries (call_id);
create index cache_entries_session on cache_entries (session) where session is not null;
create index cache_entries_partition on cache_entries (partition, guard, stored_at desc) where partition is not null;

create table cache_days (
    day        date not null,
    project_id integer not null,
    model      text not null,
    hits       bigint not null,
    semantic   bigint not null,
    misses     bigint not null,
    saved_nano bigint not null,
    unpriced   bigint not null,         -- hits nobody knows the price of
    primary key (day, project_id, model)
);

create table cache_thresholds (
    project_id integer not null,
    model      text not null,
    threshold  double precision not null,
    wrong      integer not null,
    changed_at timestamptz not null default now(),
    primary key (project_id, model)
);

-- Hits that were reported wrong, each once.
create table cache_wrong (
    call_id     uuid primary key,
    of_call_id  uuid not null,
    project_id  integer not null,
    key_id      integer not null,       -- who reported it
    model       text not null,
    kind        text not null,
    similarity  double precision,
    reported_at timestamptz not null default now()
);
