-- Corrections as they are shown to the next request that is like theirs; where people contradict each other; the effect.

create sequence memory_changes;

create table memory_entries (
    id            uuid primary key,              -- a UUIDv7
    project_id    integer not null,
    task          text not null,
    source        text not null check (source in ('correction', 'import')),
    call_id       uuid,                          -- of the call that was corrected
    correction_id bigint,
    key_id        integer,                       -- that made the call; with session and tags, what calls are deleted by
    session       text,
    tags          jsonb,
    sha           bytea not null,                -- of the inputs, hashed under the key that seals: exact repeats
    output_sha    bytea not null,                -- of what should have been answered, likewise
    content       bytea not null,                -- JSON [inputs, output, note], sealed
    sealed_by     text,
    embedder      text,                          -- that made the vector; null: not embedded yet
    embedding     vector,
    author        text not null,
    by_key_id     integer not null,
    scope         jsonb not null default '{}',   -- tags that a call must carry to be shown it
    beside        uuid[] not null default '{}',  -- entries that say something else of the same, and may
    expires_at    timestamptz,
    disabled_at   timestamptz,
    superseded_by uuid,                          -- a later correction of the same call
    created_at    timestamptz not null default now(),
    changed       bigint not null default nextval('memory_changes')
);
create index memory_entries_task on memory_entries (project_id, task, id);
create index memory_entries_author on memory_entries (project_id, task, author);
create index memory_entries_project on memory_entries (project_id, id);
create index memory_entries_call on memory_entries (call_id) where call_id is not null;
create index memory_entries_session on memory_entries (session) where session is not null;
create index memory_entries_key on memory_entries (key_id) where key_id is not null;
create index memory_entries_tags on memory_entries using gin (tags jsonb_path_ops) where tags is not null;
create index memory_entries_sha on memory_entries (project_id, task, sha);
create index memory_entries_sealed on memory_entries (sealed_by);
create index memory_entries_waiting on memory_entries (id) where embedder is null;
-- Of memories too large to be held in memory, with the carried embedder; others are read through.
create index memory_entries_near on memory_entries using hnsw ((embedding::vector(384)) vector_cosine_ops)
    where vector_dims(embedding) = 384;

create table memory_conflicts (
    id         bigint generated always as identity primary key,
    project_id integer not null,
    task       text not null,
    older      uuid not null references memory_entries on delete cascade,
    newer      uuid not null references memory_entries on delete cascade,
    similarity real not null,
    state      text not null default 'open' check (state in ('open', 'one', 'both', 'scoped')),
    kept       uuid,
    decided_by text,
    decided_at timestamptz,
    created_at timestamptz not null default now(),
    unique (older, newer)
);
create index memory_conflicts_project on memory_conflicts (project_id, id);
create index memory_conflicts_newer on memory_conflicts (newer);

create table memory_entry_days (
    entry_id uuid not null references memory_entries on delete cascade,
    day      date not null,
    shown    integer not null default 0,
    answered integer not null default 0,         -- it was the answer
    primary key (entry_id, day)
);

-- Calls by what memory did for them; which of them were found wanting is in memory_outcomes.
create table memory_days (
    project_id integer not null,
    task       text not null,
    variant    text not null,
    day        date not null,
    outcome    text not null check (outcome in ('shown', 'none', 'held-out', 'answered', 'late')),
    calls      bigint not null,
    primary key (project_id, task, variant, day, outcome)
);

create table memory_outcomes (
    call_id    uuid primary key,
    project_id integer not null,
    task       text not null,
    variant    text not null,
    day        date not null,
    outcome    text not null,
    key_id     integer not null,
    session    text,
    tags       jsonb not null,
    corrected  boolean not null default false,   -- to something else than it said
    bad        boolean not null default false    -- somebody's last verdict on it
);
create index memory_outcomes_task on memory_outcomes (project_id, task, day);
