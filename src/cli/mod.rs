//! The command line: composition root, one file a command group; only `render` prints.
