//! `ci/compare-patched-text`: checks that the guest kernel patches its own code as Linux does.
#![forbid(unsafe_code)]

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use lab::cache::{Lock, cache_root, make_private_folder};
use lab::host::{install_missing, project_root, say};
use lab::instance::{Instance, Options};
use lab::kernel;
use lab::patched_text::{Image, Machine, Outcome, PROCESSORS, compare_domains, compare_on};
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The patch that adds a boot parameter to the kernel, to turn its shortcuts off.
const REFERENCE: &str = "guest-kernel-config/reference/patch-like-linux.patch";
/// The least number of patched bytes: the kernel has tens of thousands of places to patch.
const LEAST_CHANGED: usize = 20_000;
/// The most differences to show.
const SHOWN: usize = 20;

/// Boots the guest kernel on several emulated processors, once with its shortcuts for patching its own code and once
/// patching as Linux does, and compares the code byte for byte.
///
/// Needs a special kernel, which is built once (ten minutes on one processor) and cached like other guest kernels;
/// after that it takes about a minute.
#[derive(Debug, Parser)]
#[command(name = "ci/compare-patched-text", bin_name = "ci/compare-patched-text")]
struct Cli {
    /// Use this kernel instead of building one; it must have the parameter `patch_like_linux`
    #[arg(long, value_name = "VMLINUX")]
    kernel: Option<PathBuf>,
    /// Also compare PV and PVH domains in the lab, which takes some minutes more
    #[arg(long)]
    domains: bool,
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<()> {
    install_missing(&[("qemu-system-x86_64", "qemu-system-x86")])?;
    let kernel = match cli.kernel {
        Some(kernel) => kernel,
        None => kernel::build(&[&project_root().join(REFERENCE)])?,
    };
    let folder = cache_root()?.join("patched-text");
    make_private_folder(&folder)?;
    let _lock = Lock::take(&folder.join("lock"))?;
    let file = fs::read(&kernel).with_context(|| format!("cannot read {}", kernel.display()))?;
    let image = Image::parse(&file).with_context(|| format!("{}", kernel.display()))?;
    let machine = Machine { kernel, folder };

    let mut tally = Tally::default();
    for processor in &PROCESSORS {
        let name = processor.name;
        let outcome =
            compare_on(&machine, &image, processor).with_context(|| format!("on {name}"))?;
        tally.add(name, outcome)?;
    }
    if cli.domains {
        let options = Options { name: "patched-text".into(), ..Options::default() };
        let lab = Instance::up(&options)?;
        let result = compare_all_domains(&lab, &machine.kernel, &image, &mut tally);
        lab.down()?;
        result?;
    }
    let wrong = tally.wrong;
    ensure!(wrong == 0, "in {wrong} places the shortcuts produce other code than Linux");
    Ok(())
}

fn compare_all_domains(
    lab: &Instance,
    kernel: &Path,
    image: &Image,
    tally: &mut Tally,
) -> Result<()> {
    fs::copy(kernel, lab.share().join("vmlinux")).context("cannot copy the kernel to the lab")?;
    for (kind, name) in [("pv", "a PV domain"), ("pvh", "a PVH domain")] {
        let outcome = compare_domains(lab, image, kind).with_context(|| format!("in {name}"))?;
        tally.add(name, outcome)?;
    }
    Ok(())
}

/// The results so far.
#[derive(Debug, Default)]
struct Tally {
    wrong: usize,
    /// Each code that Linux's patching produced, with the processor or domain that produced it first.
    seen: HashMap<Vec<u8>, &'static str>,
}

impl Tally {
    fn add(&mut self, name: &'static str, outcome: Outcome) -> Result<()> {
        let Outcome { size, changed, differences, text } = outcome;
        let verdict = match differences.len() {
            0 => "the same".into(),
            count => format!("{count} DIFFERENCES"),
        };
        println!("{verdict}: {name}; {changed} of {size} bytes patched");
        for difference in differences.iter().take(SHOWN) {
            println!("    {difference}");
        }
        self.wrong += usize::from(!differences.is_empty());
        // Otherwise the comparison would prove less than it seems to.
        ensure!(changed > LEAST_CHANGED, "{name}: the kernel patched almost nothing");
        if let Some(other) = self.seen.insert(text, name) {
            bail!("{other} and {name} lead to the same code, so one of them tests nothing");
        }
        Ok(())
    }
}
