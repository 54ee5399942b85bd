-- Under which question's key the answer may be given again, and until when; null: not by this table. See again.py.
alter table calls add column cache_key bytea, add column cache_until timestamptz;

create index calls_cache on calls (cache_key) where cache_key is not null;
-- The newest of them, and how many there are.
create index calls_again on calls (id) include (cache_until, project_id) where cache_key is not null;

-- True: the calls stay, only their answers are not given again.
alter table call_erasures add column answers_only boolean not null default false;
