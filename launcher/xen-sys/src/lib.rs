//! Raw Xen ABI for dom0: structs, constants, ioctls.
