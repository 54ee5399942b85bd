-- Calls that wait to be sent as OpenTelemetry: noted for each receiver in the transaction that stores them, gone when the
-- receiver has taken them. So none is missed, whoever dies; one may be sent twice, and its ids say that it is the same.
create table emission_waiting (
    id         bigint generated always as identity,
    receiver   text not null,                   -- its name in the settings
    calls      integer not null,
    ids        bytea not null,                  -- 16 bytes each
    arrived_at timestamptz not null default now(),
    primary key (receiver, id)
);
