-- Which key texts are sealed with; null: not sealed. See kit/seal.py.
alter table call_payloads add column sealed_by text;

-- Under which key's secret the words of a group are hashed; null: anybody can guess them.
alter table call_groups add column blind text;
