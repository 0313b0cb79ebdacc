//! What the hub remembers, in SQLite or Postgres; the only module that says `sqlx`.
