-- Tasks that are not told by the configuration: one a name and project, with everything it ever was.

create table tasks (
    id         bigint generated always as identity primary key,
    project_id integer not null references projects (id),
    name       text not null check (name <> ''),
    number     integer not null,                   -- of the definition that holds
    changed_at timestamptz not null default now(),
    unique (project_id, name)
);

create table task_definitions (
    task_id    bigint not null references tasks (id) on delete cascade,
    number     integer not null,                   -- from 1, of each task
    definition bytea not null,                     -- JSON as it was told, its names in their order; sealed
    sealed_by  text,                               -- id of the key; null: not sealed
    author     text not null,
    changed_at timestamptz not null default now(),
    primary key (task_id, number)
);
