-- Files of clients and of batches (their bytes are blobs in the data folder), and the batches.

create table files (
    id         text primary key,                   -- `file-` and a UUIDv7: sorts by time
    project_id integer not null,
    key_id     integer not null,
    filename   text not null,
    purpose    text not null,
    bytes      bigint not null,
    blob       text not null,                      -- SHA-256; several files may share one
    created_at timestamptz not null default now(),
    expires_at timestamptz                         -- null: until it is deleted
);

create index files_project on files (project_id, id);
create index files_blob on files (blob);
create index files_expiry on files (expires_at) where expires_at is not null;

create table batches (
    id             text primary key,               -- `batch_` and a UUIDv7
    project_id     integer not null,
    key_id         integer not null,               -- the key that asks each line
    endpoint       text not null,
    input_file_id  text not null,
    output_file_id text,
    error_file_id  text,
    status         text not null check (status in (
        'validating', 'failed', 'in_progress', 'finalizing', 'completed', 'expired', 'cancelling', 'cancelled')),
    model          text,                           -- of the first line
    metadata       jsonb,
    errors         jsonb,
    output_seconds bigint,                         -- after which its files expire; null: as the house keeps them
    total          integer not null default 0,
    completed      integer not null default 0,
    failed         integer not null default 0,
    input_tokens   bigint not null default 0,
    output_tokens  bigint not null default 0,
    cached_tokens  bigint not null default 0,
    reasoning_tokens bigint not null default 0,
    cost_nano      bigint not null default 0,
    unpriced       integer not null default 0,     -- lines nobody knows the price of
    created_at     timestamptz not null default now(),
    expires_at     timestamptz not null,
    in_progress_at timestamptz,
    finalizing_at  timestamptz,
    completed_at   timestamptz,
    failed_at      timestamptz,
    expired_at     timestamptz,
    cancelling_at  timestamptz,
    cancelled_at   timestamptz
) with (fillfactor = 70);

create index batches_project on batches (project_id, id);
create index batches_open on batches (id) where status in ('validating', 'in_progress', 'finalizing', 'cancelling');
