//! The app's output over a vchan, for a monitor that the console is too slow for.

use super::line::{Line, Over};
use super::{FRAME_BYTES, MAX_PENDING};
use crate::detour::Detour;
use contract::talk::Answer;
use rustix::event::{PollFd, PollFlags};
use rustix::io::{Errno, read};
use std::os::fd::OwnedFd;

/// Until the output ends or the client goes; what was under way to a client that goes is lost.
pub(super) fn run(detour: &Detour, line: &mut Line<'_>) -> Result<(), Over> {
    let Ok(Some(output)) = detour.open() else {
        line.send(&Answer::Refused("somebody has the app's output already".into()));
        return line.finish();
    };
    line.send(&Answer::Started);
    let passed_on = pass_on(&output, line);
    // First: what finds the pipe broken goes back to the console.
    drop(output);
    detour.close();
    passed_on?;
    line.finish()
}

fn pass_on(output: &OwnedFd, line: &mut Line<'_>) -> Result<(), Over> {
    let mut buffer = vec![0; FRAME_BYTES];
    let mut ended = false;
    loop {
        // Nothing more is asked of it, but the client's end is seen so.
        while line.receive()?.is_some() {}
        while !ended && line.pending() < MAX_PENDING {
            match read(output, &mut buffer[..]) {
                Ok(count @ 1..) => line.send(&Answer::Stdout(buffer[..count].to_vec())),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Ok(0) | Err(_) => {
                    line.send(&Answer::End);
                    ended = true;
                }
            }
        }
        line.flush()?;
        if ended && line.pending() == 0 {
            return Ok(());
        }
        let more = !ended && line.pending() < MAX_PENDING;
        line.sleep(more.then(|| PollFd::new(output, PollFlags::IN)))?;
    }
}
