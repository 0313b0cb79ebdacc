-- One OpenEBS (a cluster, and its namespace there) under two names would be upgraded twice at once. Where that came about
-- already, only the name that was registered first keeps the identity: the next look at the other learns it again, and
-- says what is wrong.
update clusters set identity = null, version = version + 1
where state <> 'removed' and identity is not null
    and id not in (
        select min(id) from clusters where state <> 'removed' and identity is not null group by identity, namespace);
create unique index clusters_by_identity on clusters (identity, namespace)
    where state <> 'removed' and identity is not null;

alter table clusters add column failing_since_us bigint;
comment on column clusters.failing_since_us is
    'since when it does not answer: the longer, the more rarely its inventory is tried';
