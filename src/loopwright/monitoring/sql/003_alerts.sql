-- Alerts, what is to be told of them and to whom (an outbox), and what is not to be told for a while.
-- No row here holds a text of a call: what is said of one is its numbers, its names and its id.

create table alerts (
    id                bigint generated always as identity primary key,
    project_id        integer,                    -- null: the whole house, for administrators
    source            text not null,              -- objective, rule, anomaly, budget, drift, canary …
    fingerprint       text not null,              -- within its source: the same one again is the same alert
    rule              text not null,              -- the name of the objective, rule or watch it comes from
    kind              text not null,              -- errors, latency, cost, quality, spend, tokens, traffic, …
    severity          text not null check (severity in ('info', 'warning', 'critical')),
    title             text not null,
    said              text not null,              -- some lines of plain words
    link              text not null,              -- the page of the console that shows what it came from
    labels            jsonb not null,             -- name to value: what silences and channels match
    calls             jsonb not null,             -- a filter of calls, as /calls and GET /api/calls take it
    call_ids          uuid[] not null,            -- or some calls themselves
    evidence          jsonb not null,             -- numbers
    since             timestamptz not null,       -- when what is bad began
    raised_at         timestamptz not null default now(),
    seen_at           timestamptz not null default now(),   -- when it last was so
    hold_s            double precision,           -- resolved by itself when not seen for so long; null: by who raised it
    resolved_at       timestamptz,
    resolution        text,                       -- quiet, gone, person
    acknowledged_at   timestamptz,
    acknowledged_by   text,
    notified_at       timestamptz,                -- when somebody was last told of it (when that was put into the outbox)
    notified_severity text,
    resolved_notified boolean not null default false,
    times             integer not null default 1  -- it was seen
);
create unique index alerts_open on alerts (coalesce(project_id, 0), source, fingerprint) where resolved_at is null;
create index alerts_project on alerts (project_id, id);
create index alerts_untold on alerts (id) where resolved_at is not null and not resolved_notified;
create index alerts_resolved on alerts (resolved_at) where resolved_at is not null;

create table alert_silences (
    id         bigint generated always as identity primary key,
    project_id integer,                           -- null: alerts of every project
    matchers   jsonb not null,                    -- label to pattern: all must match; * stands for any text
    reason     text not null,
    made_by    text not null,
    starts_at  timestamptz not null default now(),
    ends_at    timestamptz not null
);
create index alert_silences_end on alert_silences (ends_at);

-- The outbox. Written in the transaction that changes the alert; emptied in order, channel by channel.
create table alert_deliveries (
    id           bigint generated always as identity primary key,
    uid          uuid not null default gen_random_uuid(),  -- told to who receives it: the same again is the same notice
    channel      text not null,
    event        text not null check (event in ('firing', 'reminder', 'resolved', 'test')),
    project_id   integer,
    alerts       bigint[] not null,
    made_at      timestamptz not null default now(),
    due_at       timestamptz not null default now(),
    attempts     smallint not null default 0,
    delivered_at timestamptz,
    given_up_at  timestamptz,
    error        text                             -- of the last attempt; never an address or a secret
);
create index alert_deliveries_waiting on alert_deliveries (channel, id) where delivered_at is null and given_up_at is null;
create index alert_deliveries_made on alert_deliveries (made_at);
create index alert_deliveries_alerts on alert_deliveries using gin (alerts);
