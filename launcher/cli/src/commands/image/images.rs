//! `launch images` and `launch image ls`: list images.

use crate::here::Here;
use crate::listing::{self, Field, Format};
use crate::output::print;
use crate::table;
use anyhow::Result;
use app::timestamp;
use image::Image;
use serde_json::{Value, json};
use std::process::ExitCode;

/// The fields of each name of an image in JSON and templates: Docker's, and the whole name. The field that says how much of
/// an image's disk is shared with other images has its name from `docker system df -v`.
const FIELDS: [Field; 10] = [
    ("Name", "NAME"),
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("ID", "DIGEST"),
    ("Digest", "DIGEST"),
    ("CreatedSince", "CONVERTED"),
    ("CreatedAt", "CONVERTED AT"),
    ("Size", "DISK"),
    ("SharedSize", "SHARED"),
    ("UniqueSize", "UNIQUE"),
];
const COLUMNS: [&str; 5] = ["Name", "ID", "CreatedSince", "Size", "SharedSize"];

/// The columns to show.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only digests
    #[arg(short, long)]
    quiet: bool,
    /// table, json (one object a line), or a Go template such as '{{.Name}} {{.Size}}'
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Accepted for Docker's sake: all images are listed
    #[arg(short, long, hide = true)]
    all: bool,
    /// Accepted for Docker's sake: digests are always shown
    #[arg(long, hide = true)]
    digests: bool,
    /// Accepted for Docker's sake: --format '{{.Digest}}' shows whole digests
    #[arg(long, hide = true)]
    no_trunc: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let format = Format::parse(args.format.as_deref())?;
    let images = Here::new()?.images()?.list()?;
    if args.quiet {
        print(&images.iter().map(|image| format!("{}\n", image.digest)).collect::<String>())?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows: Vec<Value> =
        images.iter().flat_map(|image| rows(image, is_shared(image, &images))).collect();
    listing::show(&format, &FIELDS, &COLUMNS, &rows)?;
    Ok(ExitCode::SUCCESS)
}

/// Whether another image has the same disk, which then takes its space only once.
fn is_shared(image: &Image, all: &[Image]) -> bool {
    all.iter().any(|other| other.digest != image.digest && other.disk_file == image.disk_file)
}

/// One row for each name of an image, or one row without a name.
fn rows(image: &Image, is_shared: bool) -> Vec<Value> {
    let now = timestamp::now_ns() / 1_000_000_000;
    let digest = image.digest.to_string();
    let (shared, unique) = if is_shared { (image.disk_bytes, 0) } else { (0, image.disk_bytes) };
    let short: String = image.digest.hex().chars().take(12).collect();
    let row = |name: &str| {
        let (repository, tag) = split_name(name);
        json!({
            "Name": name,
            "Repository": repository,
            "Tag": tag,
            "ID": short,
            "Digest": digest,
            "CreatedSince": format!("{} ago", table::age(now.saturating_sub(image.created_unix))),
            "CreatedAt": timestamp::render(image.created_unix.saturating_mul(1_000_000_000)),
            "Size": table::size(image.disk_bytes),
            "SharedSize": table::size(shared),
            "UniqueSize": table::size(unique),
        })
    };
    match image.names.is_empty() {
        true => vec![row("")],
        false => image.names.iter().map(|name| row(name)).collect(),
    }
}

/// Splits `docker.io/library/nginx:1.22` into the name and the tag, as Docker shows them.
fn split_name(name: &str) -> (String, String) {
    let none = || "<none>".to_owned();
    if name.is_empty() {
        return (none(), none());
    }
    let short = name.strip_prefix("docker.io/").unwrap_or(name);
    let short = short.strip_prefix("library/").unwrap_or(short);
    let short = short.split('@').next().unwrap_or_default();
    match short.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository.into(), tag.into()),
        _ => (short.into(), none()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_split_as_docker_shows_it() {
        let split = |name: &str| {
            let (repository, tag) = split_name(name);
            format!("{repository} {tag}")
        };
        assert_eq!(split("docker.io/library/nginx:1.22"), "nginx 1.22");
        assert_eq!(split("docker.io/team/web:latest"), "team/web latest");
        assert_eq!(split("localhost:5000/web@sha256:00"), "localhost:5000/web <none>");
        assert_eq!(split(""), "<none> <none>");
    }

    #[test]
    fn a_disk_of_two_images_is_shared_and_takes_no_more_space() {
        let image = |name: &str, inode| Image {
            digest: image::Digest::of(name.as_bytes()),
            disk: "/disk.erofs".into(),
            disk_bytes: 2_000_000,
            disk_file: (1, inode),
            config: image::Config::default(),
            names: vec![name.to_owned()],
            created_unix: 0,
        };
        let all = [image("a", 1), image("b", 1), image("c", 2)];
        assert_eq!(all.each_ref().map(|image| is_shared(image, &all)), [true, true, false]);
        let sizes = |image, shared| {
            let row = rows(image, shared).remove(0);
            ["Size", "SharedSize", "UniqueSize"]
                .map(|field| row[field].as_str().unwrap().to_owned())
        };
        let (all_of_it, nothing) = (table::size(2_000_000), table::size(0));
        assert_eq!(sizes(&all[0], true), [&all_of_it, &all_of_it, &nothing].map(String::clone));
        assert_eq!(sizes(&all[2], false), [&all_of_it, &nothing, &all_of_it].map(String::clone));
    }
}
