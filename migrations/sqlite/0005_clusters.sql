-- One OpenEBS (who answers at an address, and the namespace there) under two names would be upgraded twice at once. Sites
-- that were cloned from one disk image have one identity at different addresses. Where there are two names already, only
-- the one that was registered first keeps the identity: the next look at the other learns it again, and says what is wrong.
update clusters set identity = null, version = version + 1
where state <> 'removed' and identity is not null
    and id not in (
        select min(id) from clusters where state <> 'removed' and identity is not null
        group by identity, namespace, server);
create unique index clusters_by_identity on clusters (identity, namespace, server)
    where state <> 'removed' and identity is not null;

-- since when it does not answer: the longer, the more rarely its inventory is tried
alter table clusters add column failing_since_us integer;
