-- A project is the tenant: calls, keys and everything learnt from them belong to one.
create table projects (
    id         integer generated always as identity primary key,
    name       text not null unique check (name <> ''),
    created_at timestamptz not null default now()
);

create table keys (
    id         integer generated always as identity primary key,
    project_id integer not null references projects (id),
    name       text not null check (name <> ''),
    prefix     text not null,                      -- what people see of the secret
    hash       bytea not null unique,              -- SHA-256 of the secret: 256 random bits need no salt
    admin      boolean not null default false,
    models     text[],                             -- null: every model
    created_at timestamptz not null default now(),
    revoked_at timestamptz
);

create unique index keys_live_name on keys (project_id, name) where revoked_at is null;

insert into projects (name) values ('default');
