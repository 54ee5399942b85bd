-- Evaluations, what was found of each example, and the answers that were paid for, kept by their content.

create table evaluations (
    id                 text primary key,              -- `eval_` and a UUIDv7: sorts by time
    project_id         integer not null,
    key_id             integer not null,              -- the key that asks
    name               text not null,
    spec               bytea not null,                -- JSON, sealed: what it can be run again from
    sealed_by          text,
    dataset            text not null,                 -- name@number
    dataset_sha        text not null,
    status             text not null check (status in (
        'queued', 'running', 'cancelling', 'completed', 'stopped', 'cancelled', 'failed')),
    problem            text,                          -- why it stopped or failed
    total              integer not null default 0,    -- examples
    done               integer not null default 0,
    answers            integer not null default 0,    -- asked and answered, not out of the cache
    cached             integer not null default 0,    -- answers that were paid for before
    unanswered         integer not null default 0,
    missing            integer not null default 0,    -- scores without a finding
    raised             integer not null default 0,    -- of those, evaluators that raised
    input_tokens       bigint not null default 0,
    output_tokens      bigint not null default 0,
    cost_nano          bigint not null default 0,     -- paid by this evaluation, for answers
    judging_nano       bigint not null default 0,     -- and for scores
    saved_nano         bigint not null default 0,     -- paid before, used again
    unpriced           integer not null default 0,    -- answers nobody knows the price of
    findings           jsonb,                         -- partial while it runs
    verdict            text,                          -- of its gate
    created_at         timestamptz not null default now(),
    started_at         timestamptz,
    ended_at           timestamptz
) with (fillfactor = 70);

create index evaluations_project on evaluations (project_id, id);
create index evaluations_open on evaluations (id) where status in ('queued', 'running', 'cancelling');

create table evaluation_answers (
    project_id integer not null,
    key        bytea not null,                        -- SHA-256 of what was asked, of whom
    payload    bytea not null,                        -- JSON, sealed
    sealed_by  text,
    payer      text not null,                         -- the evaluation that paid for it
    created_at timestamptz not null default now(),
    primary key (project_id, key)
);

create index evaluation_answers_age on evaluation_answers (created_at);

create table evaluation_results (
    evaluation_id text not null references evaluations (id) on delete cascade,
    position      integer not null,                   -- of the example, from 0
    target        smallint not null,                  -- of the spec's
    example_id    text not null,
    slices        jsonb,
    answer_key    bytea,                              -- null: there is no answer
    failed        boolean not null,                   -- there is no answer, or none that counts
    cached        boolean not null,
    scores        double precision[] not null,        -- one for each evaluator, null is missing
    cost_nano     bigint,                             -- of the answer, whoever paid it; null is unpriced
    latency_us    bigint not null,
    input_tokens  integer not null,
    output_tokens integer not null,
    details       bytea not null,                     -- JSON, sealed: labels, explanations, why what is missing
    sealed_by     text,
    primary key (evaluation_id, position, target)
);

create index evaluation_results_answer on evaluation_results (answer_key) where answer_key is not null;
