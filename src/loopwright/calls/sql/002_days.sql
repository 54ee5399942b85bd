-- Which days that are over have been tidied: see upkeep.py. A claim that came to nothing is taken up again.
create table call_days (
    day        date primary key,
    claimed_at timestamptz not null default now(),
    settled_at timestamptz                      -- null: being tidied
);

-- Days before `before` that have calls, are not tidied and wait for no full text, the oldest first.
create function calls_unsettled(before date) returns setof date
language sql stable as $$
    select found.day
    from (
        select to_date(right(c.relname, 8), 'YYYYMMDD') as day
        from pg_inherits i join pg_class c on c.oid = i.inhrelid
        where i.inhparent = to_regclass('calls')
    ) found
    left join call_days d on d.day = found.day
    where found.day < before
      and (d.day is null or d.settled_at is null and d.claimed_at < now() - interval '1 hour')
      and not exists (select from call_unindexed u where u.day = found.day)
    order by found.day
$$;
