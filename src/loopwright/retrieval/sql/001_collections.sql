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
    problem       text not null default '',       -- why filling does not go on now
    made_at       timestamptz not null default now()
);
create index collection_embeddings_of on collection_embeddings (collection_id);
create unique index collection_embeddings_filling on collection_embeddings (collection_id) where state = 'filling';

-- What is known of a document that can be found; of one that never could, only that it waits or why it failed.
create table collection_documents (
    id            bigint generated always as identity primary key,
    collection_id bigint not null references collections on delete cascade,
    name          text not null,                  -- a path, a URL, the id of a record
    origin        text not null check (origin in ('file', 'url', 'record')),
    state         text not null check (state in ('waiting', 'ready', 'failed')),
    reason        text not null default '',
    refused       bytea,                          -- SHA-256 of a newer form that could not be read: `reason` says why
    sha           bytea not null,                 -- SHA-256 of its bytes
    recipe        bytea not null default '',      -- hash of how it was read and cut
    size          bigint not null,
    media_type    text not null default '',
    pages         integer,
    chunks        integer not null default 0,
    labels        text[] not null default '{}',   -- who may find it; empty is everybody of the project
    said          jsonb not null default '{}',    -- what whoever brought it said of it
    found         jsonb not null default '{}',    -- what it says of itself
    metadata      jsonb not null generated always as (found || said) stored,
    title         bytea not null default '',      -- sealed where there is a key, as the next
    content       bytea,                          -- title, text and where pages begin; null until it was read
    sealed_by     text,
    author        text not null default '',
    added         integer not null default 0,     -- version of the collection it came with
    changed_at    timestamptz not null default now(),
    unique (collection_id, name)
);
create index collection_documents_sealed on collection_documents (sealed_by);
create index collection_documents_labels on collection_documents using gin (labels);
create index collection_documents_metadata on collection_documents using gin (metadata jsonb_path_ops);

-- What waits to be read: the whole of a new document, or the next form of one that can be found as it was.
create table collection_intake (
    id            bigint generated always as identity primary key,  -- another one when something newer came
    collection_id bigint not null references collections on delete cascade,
    document_id   bigint not null unique references collection_documents on delete cascade,
    origin        text not null,
    sha           bytea not null,
    size          bigint not null,
    labels        text[] not null,
    metadata      jsonb not null,
    told          bytea not null,                 -- title and media type as they were told; and its bytes, if few; sealed
    sealed_by     text,
    blob          text,                           -- else their SHA-256
    place         uuid,                           -- and the data folder with that blob
    author        text not null,
    attempts      integer not null default 0,     -- times that reading it began
    leased_until  timestamptz,
    holder        uuid,                           -- whose data folder's ingester has it
    came_at       timestamptz not null default now()
);
create index collection_intake_of on collection_intake (collection_id);
create index collection_intake_blobs on collection_intake (blob) where blob is not null;
create index collection_intake_sealed on collection_intake (sealed_by);

create table collection_chunks (
    id            bigint generated always as identity primary key,
    collection_id bigint not null references collections on delete cascade,
    document_id   bigint not null references collection_documents on delete cascade,
    position      integer not null,
    start         integer not null,               -- characters of the document's text
    "end"         integer not null,
    page          integer,
    suspicion     real not null default 0,        -- how much it reads like instructions, 0 to 1
    content       bytea not null,                 -- heading and text, sealed where there is a key
    sealed_by     text,
    unique (document_id, position)
);
create index collection_chunks_of on collection_chunks (collection_id, id);
create index collection_chunks_sealed on collection_chunks (sealed_by);
