-- Which key the answer is sealed with; null: not sealed. A sealed one is compressed before: see shared.py.
alter table cache_entries add column sealed_by text;
