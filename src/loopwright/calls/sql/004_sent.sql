-- Where the bytes of a call went, an object for each departure (see core/privacy.py); null: no trail was kept.
alter table calls add column sent jsonb;

create index calls_sent on calls using gin (sent jsonb_path_ops) where sent is not null;
