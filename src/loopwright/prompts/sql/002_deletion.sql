-- A prompt can be deleted, with all its versions and for good. Its numbers are never given again: calls on record name them.

alter table prompts add column gone integer not null default 0; -- the highest number that was deleted with it

create or replace function prompt_versions_stay() returns trigger
language plpgsql as $$
begin
    if tg_op = 'DELETE' and current_setting('loopwright.deleting_prompt', true) = 'on' then
        return null; -- before a statement it is not looked at
    end if;
    raise exception 'a version of a prompt never changes' using errcode = 'insufficient_privilege';
end $$;
