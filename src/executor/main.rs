//! The upgrade container.

fn main() {}
