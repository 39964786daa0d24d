//! Pulls into a store, or converts to a file: `pull STORE SOURCE` or `pull --convert SOURCE OUT`.
//!
//! `LAUNCH_MIRROR` is asked first for images of docker.io.

use image::{Event, Settings, Source, Store, convert, fetch_child};
use std::{error::Error, path::Path, process::ExitCode};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "__fetch") {
        return fetch_child();
    }
    match pull(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pull: {error}: {:?}", error.source().map(ToString::to_string));
            ExitCode::FAILURE
        }
    }
}

fn pull(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let mut settings = Settings::default();
    if let Ok(mirror) = std::env::var("LAUNCH_MIRROR") {
        settings.mirrors.insert("docker.io".to_owned(), vec![mirror]);
    }
    let mut progress = |event: &Event| eprintln!("{event:?}");
    match arguments {
        [option, source, out] if option == "--convert" => {
            let source: Source = source.parse()?;
            convert(&source, Path::new(out), &settings, &mut progress)?;
        }
        [folder, source] => {
            let source: Source = source.parse()?;
            let image = Store::open(folder)?.pull(&source, &settings, &mut progress)?;
            println!("{image:#?}");
        }
        _ => return Err("usage: pull STORE SOURCE | pull --convert SOURCE OUT".into()),
    }
    Ok(())
}
