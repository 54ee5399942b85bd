-- Tasks that are not told by the configuration: one a name and project, with everything it ever was.

create table tasks (
    id         bigint generated always as identity primary key,
    project_id integer not null references projects (id),
    name       text not null check (name <> ''),
    number     integer not null,                   -- of the definition that holds
    definition json not null,                      -- as it came: the order of a schema's properties is the order of an answer's
    author     text not null,
    changed_at timestamptz not null default now(),
    unique (project_id, name)
);

create table task_definitions (
    task_id    bigint not null references tasks (id) on delete cascade,
    number     integer not null,
    definition json not null,
    author     text not null,
    changed_at timestamptz not null default now(),
    primary key (task_id, number)
);
