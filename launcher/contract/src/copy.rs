//! How files are copied between dom0 and a running guest: dom0 starts a second `init` beside the app,
//! which reads or writes a stream, so the image needs no program for it. The streams of [`SEND`] and
//! [`RECEIVE`] are in the format of the crate `copy`.

/// The name by which dom0 asks for `init` itself as a process beside the app, which has no file of it.
pub const PROGRAM: &str = "launch:init";
/// First argument: send the file or folder that the second names to standard output.
pub const SEND: &str = "__send";
/// First argument: receive from standard input what goes into the folder that the second names, or
/// takes its place. The third is the name that it has in such a folder; empty where only what is in
/// it is copied. A fourth may be [`OWNERS`].
pub const RECEIVE: &str = "__receive";
/// First argument: put the tar that comes on standard input to where the second says. The third may
/// be [`OWNERS`].
pub const UNPACK: &str = "__unpack";
/// Take over the owners that the stream names, in place of root.
pub const OWNERS: &str = "owners";
