-- why its Job last had no running Pod, while no executor had said a word
alter table attempts add column held_up text;
