//! How files are copied between dom0 and a running guest: `init` runs itself once more beside the
//! app and reads or writes a tar stream, so no image needs a program for it.

/// `init` itself, for a process beside it.
pub const PROGRAM: &str = "/proc/1/exe";
/// First argument: write the file or folder that the second names to standard output, as an entry
/// with the name that the third gives and entries below it.
pub const PACK: &str = "__pack";
/// First argument: put what comes on standard input to where the second says, as `docker cp` does.
/// The third is [`OWNERS`], or nothing.
pub const UNPACK: &str = "__unpack";
/// Take over the owners that the stream names, in place of root.
pub const OWNERS: &str = "owners";
