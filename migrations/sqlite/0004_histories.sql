-- what happened to a cluster in a rollout: shown when it is explained
create index events_by_cluster on events (cluster, rollout, seq) where rollout is not null;
