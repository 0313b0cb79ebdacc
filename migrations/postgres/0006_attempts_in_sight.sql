-- What is found out about an attempt, and what it began with.
alter table attempts add column completed_seen_at_us bigint;
alter table attempts add column resource_before text;
comment on column attempts.completed_seen_at_us is
    'since when its Job is known to have completed; until its replicas have settled from then on it is not judged';
comment on column attempts.resource_before is 'the resource as it was read before the attempt, JSON';
