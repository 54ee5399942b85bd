-- How each worker sees its routes, told every few seconds for people to look at. Stale after a crash anyway: unlogged.
create unlogged table route_standings (
    worker  uuid primary key,
    process integer not null,
    told_at timestamptz not null default now(),
    routes  jsonb not null
);
