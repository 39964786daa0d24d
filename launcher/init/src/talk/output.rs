//! The app's output over a vchan, for a monitor that the console is too slow for.

use super::connection::{Connection, Disconnected, FRAME_BYTES, MAX_PENDING};
use crate::bulk_output::BulkOutput;
use contract::talk::Answer;
use rustix::event::{PollFd, PollFlags};
use rustix::io::{Errno, read};
use std::os::fd::OwnedFd;

/// Sends output until it ends or the client disconnects. Output under way to a client that disconnects is
/// lost.
pub(super) fn run(
    bulk_output: &BulkOutput,
    connection: &mut Connection<'_>,
) -> Result<(), Disconnected> {
    let Ok(Some(output)) = bulk_output.open() else {
        connection.send(&Answer::Refused("another process takes the app's output already".into()));
        return connection.finish();
    };
    connection.send(&Answer::Started);
    let passed_on = pass_on(&output, connection);
    // First, so that the relay finds the pipe broken and returns to the console.
    drop(output);
    bulk_output.close();
    passed_on?;
    connection.finish()
}

fn pass_on(output: &OwnedFd, connection: &mut Connection<'_>) -> Result<(), Disconnected> {
    let mut buffer = vec![0; FRAME_BYTES];
    let mut ended = false;
    loop {
        // The client sends no more requests, but reading shows when it disconnects.
        while connection.receive()?.is_some() {}
        while !ended && connection.pending() < MAX_PENDING {
            match read(output, &mut buffer[..]) {
                Ok(count @ 1..) => connection.send(&Answer::Stdout(buffer[..count].to_vec())),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Ok(0) | Err(_) => {
                    connection.send(&Answer::End);
                    ended = true;
                }
            }
        }
        connection.flush()?;
        if ended && connection.pending() == 0 {
            return Ok(());
        }
        let more = !ended && connection.pending() < MAX_PENDING;
        connection.sleep(more.then(|| PollFd::new(output, PollFlags::IN)))?;
    }
}
