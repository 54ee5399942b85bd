-- What engines of ours took, by hour: metered by the recorder of each machine, once a minute.
create table energy_hours (
    bucket  timestamptz not null,
    machine text not null,
    model   text not null,                      -- the configured name
    method  text not null check (method in ('rapl', 'watts')),
    cpu_s   double precision not null,
    joules  double precision not null,
    primary key (bucket, machine, model, method)
);
