-- Collections, their documents and what those are cut into. Vectors and postings are the index's own (002).

create table collections (
    id           bigint generated always as identity primary key,
    project_id   integer not null,
    name         text not null,
    description  text not null default '',
    chunking     jsonb not null,
    search       jsonb not null default '{}',     -- options of queries that say nothing
    embedding_id bigint,                          -- the generation of vectors that is searched
    version      integer not null default 0,      -- goes up with every change to what can be found
    documents    integer not null default 0,      -- ready ones
    chunks       integer not null default 0,
    created_at   timestamptz not null default now(),
    unique (project_id, name)
);

-- Generations of vectors: a collection is embedded anew beside the one that is searched, then they change places.
create table collection_embeddings (
    id            bigint generated always as identity primary key,
    collection_id bigint not null references collections on delete cascade,
    model         text not null,
    dimensions    integer,                        -- null until the first vector came
    state         text not null check (state in ('current', 'filling', 'retired')),
    filled        bigint not null default 0,      -- id of the last chunk that has its vector, while filling
    made_at       timestamptz not null default now()
);
create index collection_embeddings_of on collection_embeddings (collection_id);

create table collection_documents (
    id            bigint generated always as identity primary key,
    collection_id bigint not null references collections on delete cascade,
    name          text not null,                  -- a path, a URL, the id of a record
    title         text not null default '',
    media_type    text not null default '',
    state         text not null check (state in ('waiting', 'ready', 'failed')),
    reason        text not null default '',
    sha           bytea not null,                 -- SHA-256 of its bytes
    size          bigint not null,
    pages         integer,
    chunks        integer not null default 0,
    labels        text[] not null default '{}',   -- who may find it; empty is everybody of the project
    metadata      jsonb not null default '{}',
    content       bytea,                          -- its text, zstd, sealed where there is a key; null until it was read
    sealed_by     text,
    blob          text,                           -- its bytes, while they wait
    attempts      integer not null default 0,
    author        text not null default '',
    added         integer not null default 0,     -- version of the collection it came with
    changed_at    timestamptz not null default now(),
    unique (collection_id, name)
);
create index collection_documents_waiting on collection_documents (id) where state = 'waiting';
create index collection_documents_sealed on collection_documents (sealed_by) where content is not null;

create table collection_chunks (
    id            bigint generated always as identity primary key,
    collection_id bigint not null references collections on delete cascade,
    document_id   bigint not null references collection_documents on delete cascade,
    position      integer not null,
    start         integer not null,               -- characters of the document's text
    "end"         integer not null,
    page          integer,
    heading       text not null default '',
    suspicion     real not null default 0,        -- how much it reads like instructions, 0 to 1
    content       bytea not null,                 -- its text, sealed where there is a key
    sealed_by     text,
    unique (document_id, position)
);
create index collection_chunks_of on collection_chunks (collection_id, id);
create index collection_chunks_sealed on collection_chunks (sealed_by);
