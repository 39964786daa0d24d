//! The report of a benchmark, and its files: figures, picture, page.

use crate::{page, table};
use anyhow::{Context, Result, ensure};
use lab::host::{find_program, install_missing, run_quietly, say};
use minijinja::value::Serde;
use minijinja::{Value, context};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// (program or file, package) for making a PNG.
const PICTURE_PROGRAMS: &[(&str, &str)] = &[
    ("rsvg-convert", "librsvg2-bin"),
    ("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf", "fonts-dejavu-core"),
];

/// The figures of one benchmark.
pub(crate) trait Figures: Serialize + DeserializeOwned {
    /// The name of its script in `ci/`, and of its template in `pages/`.
    const NAME: &'static str;
    /// Must increase if programs that read earlier versions would misread the file.
    const VERSION: u32 = 1;

    /// Additional values for pages and pictures.
    fn extra(&self) -> Value {
        context! {}
    }

    /// The compared work, each with the SHA-256 of its answers; there is only one hash if all did equal work.
    fn answers(&self) -> Vec<(&str, Vec<&String>)>;
}

/// The JSON file, with the same order of fields.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Report<F> {
    /// If not on hardware: says so, and what that distorts. First in the file, because every figure depends on it.
    pub(crate) emulated: Option<String>,
    /// [`Figures::VERSION`].
    pub(crate) version: u32,
    /// The time of the measurement, in UTC.
    pub(crate) date: String,
    /// The command line of the measurement.
    pub(crate) command: String,
    /// Machine, Xen, kernels, versions, from name to value.
    pub(crate) machine: BTreeMap<String, String>,
    /// The figures.
    #[serde(flatten)]
    pub(crate) figures: F,
}

impl<F: Figures> Report<F> {
    fn read(path: &Path) -> Result<Self> {
        let explain = || format!("cannot read {}", path.display());
        serde_json::from_slice(&std::fs::read(path).with_context(explain)?).with_context(explain)
    }

    /// The picture, as SVG.
    pub(crate) fn picture(&self) -> Result<String> {
        page::render(&format!("{}.svg", F::NAME), self.values())
    }

    /// The page; it links to the picture and the file of figures by these names.
    pub(crate) fn page(&self, picture: &str, json: &str) -> Result<String> {
        page::render(&format!("{}.md", F::NAME), context! { picture, json, ..self.values() })
    }

    /// The results for a terminal.
    pub(crate) fn results(&self) -> Result<String> {
        let emulated = self.emulated.as_ref().map(|text| format!("EMULATED: {text}\n\n"));
        let results = page::render_results(&format!("{}.md", F::NAME), self.values())?;
        Ok(emulated.unwrap_or_default() + &table::align(&results))
    }

    fn values(&self) -> Value {
        let all = context! { ..self.figures.extra(), ..Value::from(Serde(self)) };
        context! { name => F::NAME, picture => "", json => "", ..all }
    }
}

/// The files to write.
#[derive(Debug, clap::Args)]
pub(crate) struct Files {
    /// Write all figures to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw a picture: this SVG file, and a PNG beside it
    #[arg(long, value_name = "FILE.svg")]
    picture: Option<PathBuf>,
    /// Write a page, which links to the picture and the JSON file
    #[arg(long, value_name = "FILE.md", requires_all = ["json", "picture"])]
    document: Option<PathBuf>,
}

impl Files {
    fn write<F: Figures>(&self, report: &Report<F>) -> Result<()> {
        let write = |path: &Path, text: String| {
            std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
        };
        if let Some(path) = &self.json {
            write(path, serde_json::to_string_pretty(report)? + "\n")?;
        }
        if let Some(path) = &self.picture {
            write(path, report.picture()?)?;
            if let Some(convert) = find_program("rsvg-convert") {
                let png = path.with_extension("png");
                let mut convert = Command::new(convert);
                run_quietly(convert.args(["--zoom", "1.5", "--output"]).arg(png).arg(path))?;
            }
        }
        if let (Some(path), Some(picture), Some(json)) = (&self.document, &self.picture, &self.json)
        {
            write(path, report.page(&relative_to(picture, path), &relative_to(json, path))?)?;
        }
        Ok(())
    }
}

/// How a page names a file: without the page's own folder.
fn relative_to(file: &Path, page: &Path) -> String {
    let folder = page.parent().unwrap_or(Path::new(""));
    file.strip_prefix(folder).unwrap_or(file).display().to_string()
}

/// Measures, or reads the figures that an earlier run wrote to `from`. Writes the requested files, prints and checks
/// the results. `here` is a dom0 in use, where nothing is installed.
pub(crate) fn run<F: Figures>(
    files: &Files,
    from: Option<&PathBuf>,
    here: bool,
    measure: impl FnOnce() -> Result<Report<F>>,
    check: impl FnOnce(&F) -> Result<()>,
) -> ExitCode {
    let run = || {
        if files.picture.is_some() && !here {
            install_missing(PICTURE_PROGRAMS)?;
        }
        let report = from.map_or_else(measure, |path| Report::read(path))?;
        files.write(&report)?;
        print!("{}", report.results()?);
        for (what, mut bodies) in report.figures.answers() {
            bodies.sort();
            bodies.dedup();
            ensure!(bodies.len() <= 1, "{what}: the answers differ, so not all did equal work");
        }
        check(&report.figures)
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Compares the page, the picture and the file made from `docs/NAME.json` with those in `docs/`.
#[cfg(test)]
pub(crate) fn assert_docs_are_current<F: Figures>(name: &str) {
    let docs = lab::host::project_root().join("docs");
    let files = ["json", "md", "svg"].map(|ending| format!("{name}.{ending}"));
    let read = |file: &String| std::fs::read_to_string(docs.join(file)).unwrap();
    let [json, page, picture] = files.each_ref().map(read);
    let report = Report::<F>::read(&docs.join(&files[0])).unwrap();
    assert!(serde_json::to_string_pretty(&report).unwrap() + "\n" == json);
    let is_current = report.page(&files[2], &files[0]).unwrap() == page;
    let is_current = is_current && report.picture().unwrap() == picture;
    assert!(is_current, "docs/{name}.md is outdated: write it again with `ci/{} --from`", F::NAME);
    assert!(report.results().unwrap().starts_with("EMULATED: "));
}
