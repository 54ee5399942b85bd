-- Prompts of projects: versions that never change, labels that point at them, and every move of a label.

create table prompts (
    id         bigint generated always as identity primary key,
    project_id integer not null,
    name       text not null,
    created_at timestamptz not null default now(),
    unique (project_id, name)
);

create table prompt_versions (
    id         bigint generated always as identity primary key,
    prompt_id  bigint not null references prompts (id),
    number     integer not null,                   -- from 1, of each prompt
    sha        text not null,                      -- SHA-256 of the canonical definition, in hex
    definition bytea not null,                     -- JSON as it was pushed, its names in their order; sealed
    sealed_by  text,                               -- id of the key; null: not sealed
    note       text not null,
    author     text not null,
    created_at timestamptz not null default now(),
    unique (prompt_id, number),
    unique (prompt_id, sha)
);

create function prompt_versions_stay() returns trigger
language plpgsql as $$
begin
    raise exception 'a version of a prompt never changes' using errcode = 'insufficient_privilege';
end $$;

create trigger prompt_versions_stay before delete or truncate on prompt_versions
    execute function prompt_versions_stay();

-- Sealing a definition with another key leaves it what it was.
create trigger prompt_versions_same
    before update of id, prompt_id, number, sha, note, author, created_at on prompt_versions
    execute function prompt_versions_stay();

create index prompt_versions_sealed on prompt_versions (sealed_by);

-- Labels as they were moved, the last of each is where it points. Nothing here is changed or removed.
create table prompt_moves (
    id         bigint generated always as identity primary key,
    prompt_id  bigint not null references prompts (id),
    label      text not null,
    number     integer,                            -- null: the label was taken away
    before     integer,                            -- where it pointed until then
    back       boolean not null,                   -- a rollback: undoes the last move not yet undone
    author     text not null,
    at         timestamptz not null default now()
);

create index prompt_moves_label on prompt_moves (prompt_id, label, id);

-- Where each label points.
create table prompt_labels (
    prompt_id  bigint not null references prompts (id),
    label      text not null,
    number     integer not null,
    primary key (prompt_id, label),
    foreign key (prompt_id, number) references prompt_versions (prompt_id, number)
);
