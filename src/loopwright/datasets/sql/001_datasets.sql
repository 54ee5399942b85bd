-- Datasets, their versions and their examples. A version is a range: an example is in the versions from `added` up to,
-- and without, `removed`, so that versions share their rows and none of them ever changes.

create table datasets (
    id            bigint generated always as identity primary key,
    project_id    integer not null,
    name          text not null,
    description   text not null default '',
    shares        jsonb not null,                 -- {"train": 80, "validation": 10, "test": 10}
    input_schema  jsonb,
    output_schema jsonb,
    boilerplate   bytea,                          -- hashes of what most examples say; null until there are enough of them
    created_at    timestamptz not null default now(),
    unique (project_id, name)
);

create table dataset_versions (
    id         bigint generated always as identity primary key,
    dataset_id bigint not null references datasets on delete cascade,
    number     integer not null,
    sha        text not null,                     -- of its examples and their sides, in order
    examples   integer not null,
    splits     jsonb not null,                    -- examples by side, "" for none
    slices     jsonb not null,                    -- {"language": {"de": 12}}: the commonest
    tags       jsonb not null,                    -- {"hard": 12}: the commonest
    source     text not null,                     -- the name of a file, or what it was made from
    author     text not null,
    note       text not null default '',
    changes    jsonb not null,                    -- examples added, replaced, removed, unchanged, repeated, held back
    created_at timestamptz not null default now(),
    unique (dataset_id, number)
);

create table dataset_examples (
    dataset_id bigint not null references datasets on delete cascade,
    position   bigint generated always as identity,
    id         text not null,
    added      integer not null,                  -- the first version it is in
    removed    integer,                           -- the first one it is not in any more
    sha        bytea not null,                    -- SHA-256 of all but its side
    content    bytea not null,                    -- inputs, expected, metadata as JSON; sealed where there is a key
    sealed_by  text,
    key        bigint not null,                   -- hash of its normalised inputs
    signature  bytea not null,                    -- MinHash, 128 bytes
    kin        bigint not null,                   -- the key of the first of those that are nearly the same
    split      text check (split in ('train', 'validation', 'test')),
    tags       text[] not null,
    slices     jsonb not null,
    origin     text not null check (origin in ('import', 'call', 'correction', 'synthetic')),
    call_id    uuid,
    primary key (dataset_id, position)
);

create unique index dataset_examples_now on dataset_examples (dataset_id, id) where removed is null;
create index dataset_examples_call on dataset_examples (call_id) where call_id is not null;
