//! Shared pieces of the tests on a real dom0.
