//! Input for the app itself: `launch run -i -t` and `launch attach`.

use super::Talk;
use super::input::Input;
use super::line::{Line, Over};
use contract::talk::{Answer, Ask};

/// Until the client goes. What the app writes goes where it always goes.
pub(super) fn run(talk: &Talk, line: &mut Line<'_>) -> Result<(), Over> {
    let Some(target) = talk.input() else {
        let why = "the app takes no input; it was started without -i and -t";
        line.send(&Answer::Refused(why.into()));
        return line.finish();
    };
    let mut input = Input::new(Some(target));
    line.send(&Answer::Started);
    loop {
        let heard = hear(talk, line, &mut input);
        // What was typed before the client went is the app's too.
        input.give(line);
        heard?;
        line.flush()?;
        if input.is_closed() {
            // The app sees the end of its input once nobody has it open any more.
            talk.close_input();
        }
        line.sleep(input.room())?;
    }
}

fn hear(talk: &Talk, line: &mut Line<'_>, input: &mut Input) -> Result<(), Over> {
    while let Some(ask) = line.receive()? {
        match ask {
            Ask::Hello(_) => return Err(Over),
            Ask::Stdin(bytes) => input.add(&bytes)?,
            Ask::StdinEnd => input.end(),
            Ask::Signal(number) => drop(talk.children.signal_app(number)),
            Ask::Resize(size) => input.resize(size),
        }
    }
    Ok(())
}
