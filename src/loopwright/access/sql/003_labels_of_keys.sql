-- Which of the documents that have labels a key finds.

alter table keys
    add column labels text[];                      -- null: every document; empty: only those without labels
