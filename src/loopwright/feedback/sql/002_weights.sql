-- How many calls a score stands for: it was found of one in so many, drawn by lot. 1 of what somebody chose to say.
alter table feedback_scores add column weight real not null default 1;

-- What it cost to find out, in nanodollars; null: nobody knows.
alter table feedback_scores add column cost_nano bigint default 0;

-- Five minutes of calls of which something was said since roll-ups were last made: see monitoring/scores.py. Only ever
-- inserted and deleted: whoever rolls up takes the marks it sees, and one that commits meanwhile stays for the next time.
create table feedback_marks (
    id     bigint generated always as identity primary key,
    bucket timestamptz not null
);
