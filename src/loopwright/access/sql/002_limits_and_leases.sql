-- Limits, the leases that workers hold on them, what calls on record have cost, rotation of keys, the audit log.

alter table keys
    add column tasks      text[],                  -- null: every task
    add column operations text[],                  -- null: every route of /v1
    add column expires_at timestamptz;             -- null: never

-- Secrets that rotation has replaced and that still open, until they do not.
create table key_secrets (
    hash       bytea primary key,
    key_id     integer not null references keys (id),
    expires_at timestamptz not null
);

create index key_secrets_key on key_secrets (key_id);

-- How much of something a key, a project or a tag within a project may use.
create table limits (
    id         integer generated always as identity primary key,
    project_id integer not null references projects (id),
    key_id     integer references keys (id),
    tag_name   text,
    tag_value  text,
    kind       text not null check (kind in (
        'requests_per_minute', 'tokens_per_minute', 'concurrent_requests', 'usd_per_day', 'usd_per_month')),
    amount     bigint not null check (amount >= 0),             -- requests, tokens, or nanodollars
    alert_at   smallint check (alert_at between 1 and 100),     -- percent
    created_at timestamptz not null default now(),
    check (num_nonnulls(tag_name, tag_value) in (0, 2)),
    check (key_id is null or tag_name is null),
    unique nulls not distinct (project_id, key_id, tag_name, tag_value, kind)
);

-- One worker's part of one window of one limit. `spent` only rises; `ceiling` is what it may reach without asking.
create table leases (
    limit_id   integer not null references limits (id) on delete cascade,
    starts     bigint not null,                    -- of the window, Unix seconds; 0 for concurrent requests
    holder     uuid not null,                      -- the worker; its spool has the same id
    base       bigint not null,                    -- on record for this worker before it first asked
    spent      bigint not null,                    -- settled, `base` included
    reserved   bigint not null,                    -- estimated for requests in flight
    ceiling    bigint not null,                    -- counts until expires_at
    expires_at timestamptz not null,
    told_at    timestamptz not null,               -- when `reserved` was so
    primary key (limit_id, starts, holder)
) with (fillfactor = 50);

-- What the calls on record cost, written by the drain in the transaction that stores them: exact, whatever dies.
-- By worker, because a lease counts as what its worker reported or what is on record for it, whichever is more.
create table spend (
    scope    text not null check (scope in ('key', 'project', 'limit')),   -- a tag is counted by its limit
    scope_id integer not null,
    period   text not null check (period in ('day', 'month')),
    starts   bigint not null,
    holder   uuid not null,                        -- all zeros: workers of windows long closed, together
    nano     bigint not null,
    primary key (scope, scope_id, period, starts, holder)
) with (fillfactor = 70);

create table limit_alerts (
    limit_id integer not null references limits (id) on delete cascade,
    starts   bigint not null,
    level    text not null check (level in ('alert', 'stop')),
    at       timestamptz not null default now(),
    used     bigint not null,
    primary key (limit_id, starts, level)
);

-- Every administrative act. Nothing here is changed or removed, by anybody.
create table audit (
    id         bigint generated always as identity primary key,
    at         timestamptz not null default now(),
    key_id     integer not null,                   -- 0: Loopwright itself
    who        text not null,
    origin     text not null,                      -- address, or the program
    act        text not null,                      -- noun.verb
    subject    text not null,
    project_id integer,
    detail     jsonb not null
);

create index audit_act on audit (act, id);
create index audit_subject on audit (subject, id);

create function audit_stays() returns trigger
language plpgsql as $$
begin
    raise exception 'the audit log is append-only' using errcode = 'insufficient_privilege';
end $$;

create trigger audit_stays before update or delete or truncate on audit execute function audit_stays();

-- What holders of one window have used, each by what it reported or what is on record for it, whichever is more.
create function limit_holders(of limits, window_starts bigint)
returns table (holder uuid, used bigint, unspent bigint, live boolean)
language sql stable as $$
    select holder,
        greatest(l.spent, s.nano),
        case when l.expires_at > clock_timestamp()
             then greatest(l.ceiling - greatest(l.spent, s.nano), 0) else 0 end,
        coalesce(l.expires_at > clock_timestamp(), false)
    from (select * from leases x where x.limit_id = of.id and x.starts = window_starts) l
    full join (
        select x.holder, x.nano from spend x
        where of.kind in ('usd_per_day', 'usd_per_month')
          and x.scope = case when of.tag_name is not null then 'limit' when of.key_id is not null then 'key' else 'project' end
          and x.scope_id = case when of.tag_name is not null then of.id when of.key_id is not null then of.key_id
                                else of.project_id end
          and x.period = case of.kind when 'usd_per_day' then 'day' else 'month' end
          and x.starts = window_starts
    ) s using (holder)
$$;

-- Report and renew the leases of one worker, one line a window. Answers in the worker's own count: it may let
-- `spent + reserved` grow to `ceiling` until the lease expires. See account.py for the other half of the arithmetic.
create function renew_leases(
    worker uuid, seconds double precision, ids integer[], windows bigint[],
    spents bigint[], reserveds bigint[], demands bigint[], wanteds bigint[]
) returns table (line integer, ceiling bigint, amount bigint, used bigint, free bigint, idle bigint)
language plpgsql as $$
#variable_conflict use_column
declare
    ask    record;
    lim    limits;
    mine   leases;
    others record;
    spare  bigint;
    total  bigint;
    floor  bigint;
    room   bigint;
    grant_ bigint;
begin
    -- In one order, so that two workers never wait for each other. What follows sees what the one before committed.
    perform 1 from limits where id = any (ids) order by id for no key update;
    for ask in
        select * from unnest(ids, windows, spents, reserveds, demands, wanteds)
            with ordinality as a (id, starts, spent, reserved, demand, wanted, line)
    loop
        select * into lim from limits where id = ask.id;
        continue when not found;
        select coalesce(sum(h.used) filter (where h.holder <> worker), 0) as used,
               coalesce(sum(h.unspent) filter (where h.holder <> worker), 0) as unspent,
               count(*) filter (where h.holder <> worker and h.live) as live,
               coalesce(sum(h.used) filter (where h.holder = worker), 0) as mine
            into others from limit_holders(lim, ask.starts) h;
        select * into mine from leases x where x.limit_id = ask.id and x.starts = ask.starts and x.holder = worker;
        if not found then
            -- On record for this worker before it knew of the limit.
            mine.base := greatest(others.mine - ask.spent, 0);
        end if;
        total := greatest(mine.base + ask.spent, others.mine);
        floor := total + ask.reserved;
        room := greatest(lim.amount - others.used - others.unspent - floor, 0);
        -- Those who wait come first; what is kept ahead shrinks with what is left and with how many share it.
        grant_ := least(room, greatest(ask.demand, least(ask.wanted, room / (2 * (others.live + 1)))));
        insert into leases as x
            values (ask.id, ask.starts, worker, mine.base, total, ask.reserved, floor + grant_,
                    clock_timestamp() + make_interval(secs => seconds), clock_timestamp())
            on conflict (limit_id, starts, holder) do update
            set spent = excluded.spent, reserved = excluded.reserved, ceiling = excluded.ceiling,
                expires_at = excluded.expires_at, told_at = excluded.told_at;
        -- What others may not need; of those not heard of for a moment, requests in flight may have ended since.
        select coalesce(sum(greatest(x.ceiling - x.spent - case
                when x.told_at > clock_timestamp() - interval '200 milliseconds' then x.reserved else 0 end, 0)), 0)
            into spare from leases x where x.limit_id = ask.id and x.starts = ask.starts and x.holder <> worker
            and x.expires_at > clock_timestamp();
        line := ask.line;
        ceiling := ask.spent + ask.reserved + grant_;
        amount := lim.amount;
        used := others.used + total;
        free := room - grant_;
        idle := spare;
        if grant_ < ask.demand and idle > 0 then
            perform pg_notify('loopwright_limits', ask.id::text);
        end if;
        if lim.alert_at is not null and used * 100 >= lim.alert_at * lim.amount then
            perform note_limit(lim, ask.starts, 'alert', used);
        end if;
        if lim.kind like 'usd%' and used >= lim.amount then
            perform note_limit(lim, ask.starts, 'stop', used);
        end if;
        return next;
    end loop;
end $$;

-- Say once a window that a budget is near its end or over.
create function note_limit(of limits, window_starts bigint, how text, nano bigint) returns void
language plpgsql as $$
begin
    insert into limit_alerts (limit_id, starts, level, used) values (of.id, window_starts, how, nano)
        on conflict do nothing;
    if found then
        insert into audit (key_id, who, origin, act, subject, project_id, detail)
        values (0, 'loopwright', 'gateway', 'limit.' || how, 'limit ' || of.id, of.project_id,
                jsonb_build_object('kind', of.kind, 'amount', of.amount, 'used', nano, 'starts', window_starts,
                                   'key_id', of.key_id, 'tag_name', of.tag_name, 'tag_value', of.tag_value));
    end if;
end $$;
