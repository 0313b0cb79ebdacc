-- since when its Job is known to have completed; until its replicas have settled from then on it is not judged
alter table attempts add column completed_seen_at_us integer;
-- the resource as it was read before the attempt, JSON
alter table attempts add column resource_before text;
