-- Traces summed up, so that lists and filters read one narrow row each. Made from spans and calls, whoever came first,
-- by telemetry/folding.py; whatever is here can be made again. A call that is a trace by itself is not here: see calls.

-- Names are few, traces are many.
create table trace_series (
    id         integer generated always as identity primary key,
    project_id integer not null,
    name       text not null,                   -- of the root
    service    text not null,
    unique (project_id, name, service)
);

-- Punctuation parts words: `shop.answer` is found by `answer`.
create function trace_words(name text) returns tsvector
language sql immutable strict parallel safe
return to_tsvector('simple', regexp_replace(name, '[^[:alnum:]]+', ' ', 'g'));

create index trace_series_words on trace_series using gin (trace_words(name));
create index trace_series_service on trace_series (service);

create table traces (
    trace_id      uuid not null,
    started_at    timestamptz not null,
    duration_us   bigint not null,
    cost_nano     bigint not null,
    input_tokens  bigint not null,
    output_tokens bigint not null,
    project_id    integer not null,
    series_id     integer not null,
    steps         integer not null,
    calls         integer not null,
    failed        integer not null,
    unpriced      integer not null,             -- calls without a known price
    rootless      boolean not null,             -- no span without a parent has come
    session       text,
    error         text,                         -- what was said of a failure; null where texts are sealed
    models        text[],                       -- null: none was asked
    primary key (trace_id, project_id)
);

create index traces_started on traces (project_id, started_at);
create index traces_series on traces (series_id, started_at);
create index traces_session on traces (session, started_at) where session is not null;
create index traces_in_session on traces (started_at) where session is not null;
create index traces_failed on traces (started_at) where failed > 0;
create index traces_duration on traces (duration_us);
create index traces_cost on traces (cost_nano) where cost_nano > 0;
create index traces_models on traces using gin (models) where models is not null;
