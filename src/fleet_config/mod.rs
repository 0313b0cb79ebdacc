//! Fleet files (YAML) to a checked `Fleet`, with every problem reported at once.
