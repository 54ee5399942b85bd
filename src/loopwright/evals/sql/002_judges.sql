-- Judges by name, and their cards: what was measured of one version of a judge, with what it was measured from.

create table judges (
    project_id integer not null,
    name       text not null,
    number     integer not null,                      -- versions count up; the same definition is the same version
    definition jsonb not null,                        -- the arguments of an evaluator of kind judge; may lack the model
    author     text not null,                         -- whose key
    created_at timestamptz not null default now(),
    primary key (project_id, name, number)
);

create table judge_cards (
    id           bigint generated always as identity primary key,
    project_id   integer not null,
    judge        text not null,
    sha          text not null,                       -- of the definition with its model: what the card is pinned to
    behind       text not null,                       -- what the name of the model led to then; '' is not known
    card         jsonb not null,
    observations jsonb not null,                      -- labels, verdicts, lengths, ids of calls; no text of what was judged
    author       text not null,
    created_at   timestamptz not null default now()
);

create index judge_cards_version on judge_cards (project_id, sha, id);
create index judge_cards_judge on judge_cards (project_id, judge, id);
