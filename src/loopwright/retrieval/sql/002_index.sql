-- What is searched: vectors of chunks, and postings of their words. Written and read by retrieval/index.py alone.

-- A generation that has grown large has an HNSW index of its own over its part of this table (retrieval/vectors.py).
create table collection_vectors (
    chunk_id     bigint not null references collection_chunks on delete cascade,
    embedding_id bigint not null references collection_embeddings on delete cascade,
    document_id  bigint not null,
    vector       halfvec not null,                -- of unit length
    primary key (chunk_id, embedding_id)
);
-- Beside the row: a scan reads every one.
alter table collection_vectors alter column vector set storage plain;
create index collection_vectors_of on collection_vectors (embedding_id, document_id);

-- Chunks that were indexed together, numbered from 0. Nothing in one changes but `dead`; several are merged into one.
create table collection_segments (
    id            bigint generated always as identity primary key,
    collection_id bigint not null references collections on delete cascade,
    chunks        integer not null,
    bits          integer not null,               -- leading bits of a word's hash that choose its row
    language      text not null,                  -- whose endings were cut off
    hashed_by     text,                           -- key under which words are hashed; null is without
    low           bigint not null,                -- of its documents' ids
    high          bigint not null,
    head          bytea not null,                 -- chunks, their documents, their lengths: retrieval/segments.py
    dead          bytea not null default ''       -- ids of documents of it that are no more, 8 bytes each
);
create index collection_segments_of on collection_segments (collection_id);
alter table collection_segments alter column head set storage external;

create table collection_postings (
    segment_id bigint not null references collection_segments on delete cascade,
    bucket     integer not null,
    body       bytea not null,                    -- retrieval/postings.py
    primary key (segment_id, bucket)
);
alter table collection_postings alter column body set storage external;
