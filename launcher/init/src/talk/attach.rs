//! Input for the app itself: `launch run -i -t` and `launch attach`.

use super::connection::{Connection, Disconnected};
use super::guest::Guest;
use super::input::Input;
use contract::talk::{Answer, Ask};

/// Serves the client until it disconnects. The app's output goes to the console as always.
pub(super) fn run(guest: &Guest, connection: &mut Connection<'_>) -> Result<(), Disconnected> {
    let Some(target) = guest.input() else {
        let why = "the app takes no input; it was started without -i and -t";
        connection.send(&Answer::Refused(why.into()));
        return connection.finish();
    };
    let mut input = Input::new(Some(target));
    connection.send(&Answer::Started);
    loop {
        let heard = hear(guest, connection, &mut input);
        // What was typed before the client went is the app's too.
        input.give(connection);
        heard?;
        connection.flush()?;
        if input.is_closed() {
            // The app sees the end of its input once no process has it open any more.
            guest.close_input();
        }
        connection.sleep(input.room())?;
    }
}

fn hear(
    guest: &Guest,
    connection: &mut Connection<'_>,
    input: &mut Input,
) -> Result<(), Disconnected> {
    while let Some(ask) = connection.receive()? {
        match ask {
            Ask::Hello(_) => return Err(Disconnected),
            Ask::Stdin(bytes) => input.add(&bytes)?,
            Ask::StdinEnd => input.end(),
            Ask::Signal(number) => drop(guest.children.signal_app(number)),
            Ask::Resize(size) => input.resize(size),
        }
    }
    Ok(())
}
