//! Simulated edge clusters behind real HTTPS, for the demo, rehearsal, tests and the benchmark.
