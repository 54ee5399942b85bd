-- Searches measured by labelled queries: figures in the open, queries and names of documents sealed where there is a key.

create table collection_evaluations (
    id            bigint generated always as identity primary key,
    collection_id bigint not null references collections on delete cascade,
    version       integer not null,               -- of the collection
    embedder      text not null,
    documents     integer not null,
    chunks        integer not null,
    queries       integer not null,               -- that were measured
    summary       jsonb not null,                 -- figures of each way, differences
    note          text not null default '',
    author        text not null default '',
    details       bytea not null,                 -- each query: its text, judgements, what each way found; zstd
    sealed_by     text,
    made_at       timestamptz not null default now()
);
create index collection_evaluations_of on collection_evaluations (collection_id, id);
create index collection_evaluations_sealed on collection_evaluations (sealed_by);
