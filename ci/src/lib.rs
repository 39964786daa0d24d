//! The nested-Xen lab.
