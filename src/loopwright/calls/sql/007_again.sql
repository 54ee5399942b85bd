-- Under which question's key the answer may be given again, and until when; null: not by this table. See again.py.
alter table calls add column cache_key bytea, add column cache_until timestamptz;

create index calls_cache on calls (cache_key) where cache_key is not null;
-- Those that are good, and how many there are.
create index calls_again on calls (cache_until) include (project_id) where cache_key is not null;

-- Calls that stay and whose answers are not given again, while calls may have waited in a spool. As call_erasures.
create table call_silences (
    id         bigint generated always as identity primary key,
    project_id integer,                         -- null: every project
    call_id    uuid,
    key_id     integer,
    session    text,
    tag_name   text,
    tag_value  text,
    before     timestamptz not null,
    questions  bytea[],                         -- keys whose answers are not given either
    check (num_nonnulls(call_id, key_id, session, tag_name) = 1)
);
