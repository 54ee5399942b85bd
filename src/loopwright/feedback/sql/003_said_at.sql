-- Whoever mirrors what is said reads on from when it last did.
create index feedback_scores_created on feedback_scores (created_at, id);
