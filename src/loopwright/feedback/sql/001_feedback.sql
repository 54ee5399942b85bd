-- What people, judges and code say of calls: scores, corrections, and queues where people review side by side.

-- A call that something was said of. Whoever deletes the call deletes this row, and all that was said goes with it.
create table feedback_calls (
    call_id    uuid primary key,
    project_id integer not null,
    key_id     integer not null,            -- that made the call
    session    text,
    tags       jsonb not null
);
create index feedback_calls_session on feedback_calls (session) where session is not null;
create index feedback_calls_key on feedback_calls (key_id);
create index feedback_calls_tags on feedback_calls using gin (tags jsonb_path_ops);

create table feedback_scores (
    id         bigint generated always as identity primary key,
    call_id    uuid not null references feedback_calls on delete cascade,
    name       text not null,
    source     text not null check (source in ('code', 'judge', 'person')),
    author     text not null,
    by_key_id  integer not null,            -- the key that told us
    value      double precision,
    label      text,
    passed     boolean,
    explanation bytea,                      -- sealed; null: none
    sealed_by  text,                        -- id of the key; null: not sealed
    created_at timestamptz not null default now(),
    unique (call_id, name, source, author)  -- whoever says it again has changed their mind
);
create index feedback_scores_sealed on feedback_scores (sealed_by) where explanation is not null;

create table feedback_corrections (
    id         bigint generated always as identity primary key,
    call_id    uuid not null references feedback_calls on delete cascade,
    project_id integer not null,
    author     text not null,
    by_key_id  integer not null,
    latest     boolean not null default true,
    body       bytea not null,              -- JSON, sealed: what the answer should have been, and why
    sealed_by  text,
    created_at timestamptz not null default now()
);
create unique index feedback_corrections_latest on feedback_corrections (call_id) where latest;
create index feedback_corrections_call on feedback_corrections (call_id);
create index feedback_corrections_project on feedback_corrections (project_id, id) where latest;
create index feedback_corrections_sealed on feedback_corrections (sealed_by);

create table reviews (
    id         text primary key,            -- `review_` and a UUIDv7
    project_id integer not null,
    name       text not null,
    mode       text not null check (mode in ('rubric', 'pairwise')),
    instructions text not null,
    criteria   jsonb not null,
    raters     integer not null,            -- people who rate each item
    source     jsonb not null,              -- where its items came from
    author     text not null,
    by_key_id  integer not null,
    created_at timestamptz not null default now(),
    unique (project_id, name)
);

create table review_items (
    id         bigint generated always as identity primary key,
    review_id  text not null references reviews on delete cascade,
    position   integer not null,
    call_id    uuid references feedback_calls on delete cascade,
    other_call_id uuid references feedback_calls on delete cascade,
    example_id text,
    body       bytea not null,              -- JSON, sealed: what is asked and what was answered
    sealed_by  text,
    unique (review_id, position)
);
create index review_items_call on review_items (call_id) where call_id is not null;
create index review_items_other on review_items (other_call_id) where other_call_id is not null;
create index review_items_sealed on review_items (sealed_by);

create table review_turns (
    item_id    bigint not null references review_items on delete cascade,
    review_id  text not null,
    rater_id   integer not null,            -- a key: each rater needs one
    rater      text not null,
    state      text not null check (state in ('open', 'rated', 'skipped')),
    swapped    boolean not null,            -- the second answer was shown first
    labels     jsonb,                       -- by criterion
    note       bytea,                       -- sealed
    sealed_by  text,
    taken_at   timestamptz not null default now(),
    decided_at timestamptz,
    primary key (item_id, rater_id)
);
create index review_turns_rater on review_turns (review_id, rater_id, state);
create index review_turns_sealed on review_turns (sealed_by) where note is not null;
