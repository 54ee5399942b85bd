-- How much evidence is enough for an answer: weights and thresholds fitted to a collection's own texts.

create table collection_calibrations (
    collection_id bigint not null references collections on delete cascade,
    embedding_id  bigint not null,                -- whose cosines were weighed
    source        text not null check (source in ('own', 'file')),
    fitted        jsonb not null,                 -- by mode: weights, threshold, expected error rates
    queries       integer not null,
    documents     integer not null,               -- ready ones, when it was made
    chunks        integer not null,
    made_at       timestamptz not null default now(),
    primary key (collection_id, embedding_id)
);
