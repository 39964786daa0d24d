//! Safe Xen: xenstore, hypercalls, event channels, grants, domain building.
