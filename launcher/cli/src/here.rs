//! This machine's settings, images and apps, for the commands.

use crate::output::say;
use crate::progress::Bars;
use crate::settings::Settings;
use anyhow::{Context, Result, bail};
use app::life;
use app::{Apps, Repair};
use image::{Image, Naming, Source, Store};
use std::path::Path;

/// When an image is fetched: Docker's `--pull`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Pull {
    /// Always; unchanged layers are not fetched again.
    Always,
    /// Only if the image is not in the store.
    Missing,
    /// Never.
    Never,
}

/// The settings, and access to images and apps.
pub(crate) struct Here {
    pub(crate) settings: Settings,
}

impl Here {
    /// Reads the settings.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self { settings: Settings::read()? })
    }

    /// The images of this machine.
    pub(crate) fn images(&self) -> Result<Store> {
        require_root("images can be used")?;
        app::make_state_folder(&self.settings.state)?;
        Ok(Store::open(self.settings.state.join("images"))?)
    }

    /// The apps of this machine, after a repair of what killed processes left behind.
    pub(crate) fn apps(&self) -> Result<Apps> {
        let apps = self.apps_as_they_are()?;
        tell(&life::repair(&apps)?);
        Ok(apps)
    }

    /// The apps of this machine, without a repair.
    pub(crate) fn apps_as_they_are(&self) -> Result<Apps> {
        require_root("apps can be used")?;
        Ok(Apps::open(&self.settings.state, &self.settings.domain, &self.settings.network)?)
    }

    /// The image called `name` from the store; pulls it if it is missing.
    pub(crate) fn image(&self, name: &str) -> Result<Image> {
        self.image_by(name, Pull::Missing, false)
    }

    /// The image called `name`, fetched as `pull` says.
    pub(crate) fn image_by(&self, name: &str, pull: Pull, quiet: bool) -> Result<Image> {
        let store = self.images()?;
        let source: Source = name.parse()?;
        let of_registry = matches!(source, Source::Registry(_));
        if pull == Pull::Never || (pull == Pull::Missing && of_registry) {
            if let Some(image) = store.find(name)? {
                return Ok(image);
            }
        }
        if pull == Pull::Never {
            bail!("no such image: {name}; pull it with `launch pull`, or leave out --pull never");
        }
        // Names that an archive gives its image are not taken over: the user did not ask for them.
        say_how_read(self.pull(&store, &source, Naming::AsAsked, quiet), name, &source)
    }

    /// Fetches and converts `source`, with bars on a terminal unless `quiet`.
    pub(crate) fn pull(
        &self,
        store: &Store,
        source: &Source,
        naming: Naming,
        quiet: bool,
    ) -> Result<Image> {
        let mut bars = if quiet { Bars::hidden() } else { Bars::new() };
        Ok(store.pull(source, naming, &self.settings.image, &mut bars)?)
    }
}

/// If fetching `source` failed and the user typed it as a URL, says how it was read.
pub(crate) fn say_how_read<T>(result: Result<T>, typed: &str, source: &Source) -> Result<T> {
    match (typed.split_once("://"), source) {
        (Some((scheme, _)), Source::Registry(reference)) => result
            .with_context(|| format!("{typed} is read without its {scheme}://, as {reference}")),
        _ => result,
    }
}

/// Reports repairs to the user.
pub(crate) fn tell(repairs: &[Repair]) {
    for repair in repairs {
        say(repair);
    }
}

/// Fails early, before anything is fetched or made, if this is not a dom0.
pub(crate) fn require_dom0() -> Result<()> {
    const DEVICE: &str = "/dev/xen/privcmd";
    require_root("domains can be started")?;
    if !Path::new(DEVICE).exists() {
        bail!(
            "cannot find {DEVICE}: this is not a Xen dom0; boot Xen first, or run ./ci/try to see it work in QEMU"
        );
    }
    Ok(())
}

fn require_root(what: &str) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!(
            "{what} by root only, and this is user {}; run it with sudo",
            rustix::process::geteuid()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::one_line;

    #[test]
    fn a_name_that_was_typed_as_a_url_is_said_as_it_was_read_where_fetching_fails() {
        let failed = |typed: &str| {
            let source = typed.parse().unwrap();
            let error = say_how_read(Err::<(), _>(anyhow::anyhow!("no route")), typed, &source);
            one_line(error.unwrap_err().as_ref())
        };
        assert_eq!(
            failed("docker://nginx"),
            "docker://nginx is read without its docker://, as docker.io/library/nginx:latest: no route"
        );
        assert_eq!(failed("nginx"), "no route");
        assert_eq!(failed("oci:///layout"), "no route");
    }
}
