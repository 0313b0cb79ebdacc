alter table inventories add column overtaken_at_us bigint;
comment on column inventories.overtaken_at_us is
    'when a rollout last ended its work in the cluster: an inventory from before tells of versions that are gone';
