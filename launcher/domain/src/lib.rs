//! What to run, and its life from create to remove.
