-- What an attempt waits for when its Job's deadline takes the Pod along that could have told.
alter table attempts add column held_up text;
comment on column attempts.held_up is 'why its Job last had no running Pod, while no executor had said a word';
