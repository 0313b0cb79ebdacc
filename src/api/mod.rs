//! HTTP: wire types, routes, authentication and a typed client.
