-- Under which question's key the answer may be given again, and until when; null: not by this table. See again.py.
alter table calls add column cache_key bytea, add column cache_until timestamptz;

create index calls_cache on calls (cache_key) where cache_key is not null;
-- Those that are good, and how many there are.
create index calls_again on calls (cache_until) include (project_id) where cache_key is not null;

-- Calls that stay and whose answers are not given again, while calls may have waited in a spool: named as in call_erasures.
create table call_silences (like call_erasures including all);
-- Keys of questions whose answers are not given either.
alter table call_silences add column questions bytea[];
