//! The hub's view of an edge cluster: allow-listed credentials, connections, Jobs, observation.
