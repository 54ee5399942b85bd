-- Calls mirrored elsewhere: what waits for each exporter, and how each of them is. Ids only: no text is ever here.

create table export_states (
    name       text primary key,                    -- as in the settings
    sent       bigint not null default 0,           -- calls
    scores     bigint not null default 0,
    forgotten  bigint not null default 0,           -- traces that were told to be deleted
    refused    bigint not null default 0,           -- calls and scores that the other side will not have
    scores_to  timestamptz not null default now(),  -- scores said until then were sent
    sent_at    timestamptz,
    tries      integer not null default 0,          -- in vain, since it last worked
    after      timestamptz not null default now(),  -- not tried before
    problem    text,
    problem_at timestamptz
);

-- A line for each exporter and drained batch, written in the transaction that stores the calls, and deleted when they
-- were taken: so none is missed, whoever came late, and none twice but for those of a crash.
create table export_due (
    id      bigint generated always as identity primary key,
    name    text not null,
    gone    boolean not null default false,         -- ids are of traces, to be deleted there
    ready   boolean not null default true,          -- false: a deletion that is not yet over here
    came_at timestamptz not null default now(),
    ids     uuid[] not null
);
create index export_due_name on export_due (name, id);
