-- Calls scored as they go by: which tasks are watched, which calls came, what is to be found out, what it took; and
-- scores rolled up.

-- Tasks that are watched, as the recorder last read them. The drain notes the calls of these.
create table monitor_tasks (
    project_id integer not null,                -- -1: every project (told by the configuration)
    task       text not null,
    primary key (task, project_id)
);

-- Calls that came to the database, a row for each task of a drained batch, written in the transaction that stores them.
create table monitor_arrivals (
    id         bigint generated always as identity primary key,
    arrived_at timestamptz not null default now(),
    calls      integer not null,
    ids        bytea not null                   -- 16 bytes a call
);

-- By lot: the share of the calls of a variant that is scored at least, in five minutes of calls. Told when the first of
-- them comes and never again, so that every machine draws alike and weights are known.
create table monitor_strata (
    project_id integer not null,
    task       text not null,
    variant    text not null,
    bucket     timestamptz not null,
    floor      double precision not null,       -- 0 to 1
    seen       integer not null,
    primary key (project_id, task, variant, bucket)
);
create index monitor_strata_bucket on monitor_strata (bucket);

-- What is still to be found out.
create table monitor_due (
    call_id    uuid not null,
    name       text not null,                   -- of the evaluator where it asks models; empty: all that are computed here
    lane       smallint not null,               -- 0: computed here; 1: asks models
    project_id integer not null,
    task       text not null,
    variant    text not null,
    draw       double precision not null,       -- 0 to 1, by the call's id: drawn where it is below a share
    floor      double precision not null,       -- of its stratum
    arrived_at timestamptz not null,
    tries      smallint not null default 0,
    after      timestamptz not null default now(),  -- not tried before
    primary key (call_id, name)
);
create index monitor_due_next on monitor_due (lane, after, call_id);
create index monitor_due_task on monitor_due (project_id, task);

-- What watching a task takes, by day (UTC). Budgets hold against it, on all machines together.
create table monitor_spend (
    project_id integer not null,
    task       text not null,
    day        date not null,
    nano       bigint not null default 0,       -- spent or set aside
    engine_us  bigint not null default 0,       -- of engines of ours
    primary key (project_id, task, day)
);

-- What was found out, and what was not and why, by hour of the finding.
create table monitor_counts (
    project_id integer not null,
    task       text not null,
    hour       timestamptz not null,
    variant    text not null,
    name       text not null,                   -- of the score; empty: of calls
    what       text not null,                   -- seen, drawn, scored, missing, raised, budget, no_text, …
    calls      bigint not null,
    nano       bigint not null default 0,
    engine_us  bigint not null default 0,
    cpu_us     bigint not null default 0,
    primary key (project_id, task, hour, variant, name, what)
);
create index monitor_counts_hour on monitor_counts (hour);

-- The last complaint of each evaluator, sealed: what an exception says may quote a call.
create table monitor_faults (
    project_id integer not null,
    task       text not null,
    name       text not null,
    what       text not null,                   -- raised, missing
    call_id    uuid not null,
    said       bytea not null,
    sealed_by  text,
    at         timestamptz not null default now(),
    primary key (project_id, task, name, what)
);

-- Scores of all sources rolled up: by five minutes, hour and day (UTC) of the call. Each score stands for `weight` calls
-- (w below); x is its value. All sums are exact under what is in feedback_scores when a bucket was last made anew.
create table score_rollups_5m (
    bucket    timestamptz not null,
    series_id integer not null,                 -- of call_series
    name      text not null,
    source    text not null,
    label     text not null,                    -- empty: none
    scores    bigint not null,                  -- scores, unweighted
    weight    double precision not null,        -- sum of w
    valued    bigint not null,                  -- those with a value, unweighted
    w         double precision not null,        -- of those with a value: sum of w
    wx        double precision not null,
    ww        double precision not null,        -- sum of w²
    wwx       double precision not null,
    wwxx      double precision not null,
    wxx       double precision not null,
    low       double precision,
    high      double precision,
    judged    bigint not null,                  -- those that passed or failed, unweighted
    wj        double precision not null,        -- of those: sum of w
    wp        double precision not null,        -- of those that passed: sum of w
    failed    bigint not null,                  -- unweighted
    nano      bigint not null,                  -- what they cost
    primary key (bucket, series_id, name, source, label)
);
create index score_rollups_5m_series on score_rollups_5m (series_id, bucket);
create table score_rollups_1h (like score_rollups_5m including all);
create table score_rollups_1d (like score_rollups_5m including all);
