//! The daemon's settings: flags over environment over file over defaults.
