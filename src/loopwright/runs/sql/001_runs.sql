-- Experiments and their runs: what was tried, with what, and what came of it. Artifacts' bytes are blobs in the data folder.

create table experiments (
    id          bigint generated always as identity primary key,
    project_id  integer not null,
    name        text not null,
    description text not null default '',
    tags        jsonb not null default '{}',
    created_at  timestamptz not null default now(),
    unique (project_id, name)
);

create table runs (
    number        bigint generated always as identity primary key, -- what its points refer to: short
    id            text not null unique,            -- `run_` and a UUIDv7: sorts by time
    project_id    integer not null,
    experiment_id bigint not null references experiments on delete cascade,
    name          text not null,
    kind          text not null,                   -- run, evaluation, optimisation, training
    status        text not null check (status in ('running', 'finished', 'failed', 'killed')),
    author        text not null,                   -- whose key
    params        jsonb not null default '{}',
    tags          jsonb not null default '{}',
    prompts       jsonb not null default '[]',     -- versions: ["support@7"]
    data          jsonb not null default '[]',     -- versions of datasets: [{"dataset", "number", "sha", "split"}]
    code          jsonb not null default '{}',     -- {"commit", "dirty", …}
    metrics       jsonb not null default '{}',     -- of each metric its last, least and greatest
    evaluation_id text,                            -- of a run that is an evaluation
    target        text not null default '',        -- and of which of its targets
    parent_id     text,                            -- the run it is a part of
    error         text,
    started_at    timestamptz not null,
    updated_at    timestamptz not null default now(),
    ended_at      timestamptz,
    unique (evaluation_id, target)
) with (fillfactor = 70);

create index runs_project on runs (project_id, id);
create index runs_experiment on runs (experiment_id, id);

-- Written by COPY, never changed. No key: two points of one step may both be true, and the later one counts.
create table run_points (
    run   bigint not null references runs on delete cascade,
    name  text not null,
    step  bigint not null,
    at    timestamptz not null,
    value double precision                         -- null: no finite number (a loss that diverged)
);

create index run_points_curve on run_points (run, name, step);

create table run_notes (
    id     bigint generated always as identity primary key,
    run    bigint not null references runs on delete cascade,
    at     timestamptz not null default now(),
    author text not null,
    text   text not null
);

create index run_notes_run on run_notes (run, id);

create table run_artifacts (
    run        bigint not null references runs on delete cascade,
    path       text not null,
    blob       text not null,                      -- SHA-256; several artifacts may share one
    bytes      bigint not null,
    media_type text not null,
    created_at timestamptz not null default now(),
    primary key (run, path)
);

create index run_artifacts_blob on run_artifacts (blob);
