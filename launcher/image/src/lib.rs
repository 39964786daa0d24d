//! OCI images to read-only guest disks.
