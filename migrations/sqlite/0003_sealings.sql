-- the last sealing of a cluster's credential: compared with what is stored whenever it is opened
create index events_of_sealings on events (cluster, seq) where type in ('cluster.registered', 'credential.rotated');
