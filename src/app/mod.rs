//! The use cases, one file each: what the API and the command line can ask for.
