//! Renders a domain as an xl config, from templates that a user may edit.
//!
//! A template needs no quotes: every inserted value becomes a complete xl.cfg value, with text in double quotes and
//! lists in brackets. So no name or path can leave its place.

use crate::settings::Settings;
use crate::spec::{Disk, DomainSpec, Kind, Vif};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::ValueKind;
use minijinja::{Environment, Error, ErrorKind, Output, State, UndefinedBehavior, Value, context};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

const PVH: &str = include_str!("../../../xl-templates/pvh.cfg");
const PV: &str = include_str!("../../../xl-templates/pv.cfg");

/// Why a config cannot be rendered.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A value that no xl config can hold.
    #[error("{what} {value:?} cannot be written to an xl config: it has {flaw}")]
    Value {
        /// The kind of value.
        what: &'static str,
        /// The value.
        value: String,
        /// What is wrong.
        flaw: &'static str,
    },
    /// The kernel command line is longer than the kernel accepts.
    #[error(
        "the kernel command line has {bytes} bytes, {kind} kernels take {max}; shorten --extra"
    )]
    Cmdline {
        /// The type of domain.
        kind: Kind,
        /// The command line's length.
        bytes: usize,
        /// The longest command line.
        max: usize,
    },
    /// A user's template cannot be read.
    #[error("cannot read the template {path}")]
    Read {
        /// The template.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A template has an error.
    #[error("template {path}: {message}")]
    Template {
        /// The template.
        path: PathBuf,
        /// Line and cause, in one line.
        message: String,
    },
}

/// Renders `spec` with the template of its type.
///
/// The file `pvh.cfg` or `pv.cfg` in the settings' template folder replaces the built-in template.
///
/// # Errors
/// A value does not fit xl.cfg, or a template has an error.
pub(crate) fn render(spec: &DomainSpec, settings: &Settings) -> Result<String, ConfigError> {
    let (file, built_in) = match spec.shape.kind {
        Kind::Pvh => ("pvh.cfg", PVH),
        Kind::Pv => ("pv.cfg", PV),
    };
    let path = settings.templates.join(file);
    match std::fs::read_to_string(&path) {
        Ok(text) => render_text(spec, &settings.hotplug, &text, &path),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            render_text(spec, &settings.hotplug, built_in, Path::new(file))
        }
        Err(source) => Err(ConfigError::Read { path, source }),
    }
}

fn render_text(
    spec: &DomainSpec,
    hotplug: &Path,
    template: &str,
    path: &Path,
) -> Result<String, ConfigError> {
    let max = max_cmdline_bytes(spec.shape.kind);
    if spec.shape.cmdline.len() > max {
        return Err(ConfigError::Cmdline {
            kind: spec.shape.kind,
            bytes: spec.shape.cmdline.len(),
            max,
        });
    }
    let hotplug = list_item("hotplug program", &path_text("hotplug program", hotplug)?)?;
    let disks =
        spec.disks.iter().map(|disk| disk_line(disk, &hotplug)).collect::<Result<Vec<_>, _>>()?;
    let vifs = spec.vif.iter().map(|vif| vif_line(vif, &hotplug)).collect::<Result<Vec<_>, _>>()?;
    let values = context! {
        name => text("name", &spec.name)?,
        uuid => spec.uuid.to_string(),
        id => text("id", &spec.id)?,
        kernel => path_text("kernel", &spec.shape.kernel)?,
        ramdisk => path_text("ramdisk", &spec.shape.ramdisk)?,
        cmdline => text("kernel command line", &spec.shape.cmdline)?,
        memory_mib => spec.shape.memory_mib,
        vcpus => spec.shape.vcpus,
        disks => disks,
        vifs => vifs,
    };
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let syntax = SyntaxConfig::builder().keep_trailing_newline(true).build();
    environment.set_syntax(syntax.unwrap_or_default());
    environment.set_formatter(format_value);
    environment.render_str(template, values).map_err(|error| ConfigError::Template {
        path: path.to_owned(),
        message: match error.line() {
            Some(line) => format!("line {line}: {}", one_line(&error)),
            None => one_line(&error),
        },
    })
}

/// The longest command line: PV's `start_info.cmd_line` (1,024 bytes with its NUL), or the
/// kernel's own `COMMAND_LINE_SIZE` (2,048 with its NUL).
fn max_cmdline_bytes(kind: Kind) -> usize {
    match kind {
        Kind::Pv => 1023,
        Kind::Pvh => 2047,
    }
}

fn one_line(error: &Error) -> String {
    let detail = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    detail.replace('\n', " ")
}

/// Writes `target=` last, because libxl takes the rest of the line for it, including commas.
fn disk_line(disk: &Disk, hotplug: &str) -> Result<String, ConfigError> {
    let vdev = list_item("disk name", &disk.vdev)?;
    let target = path_text("disk", &disk.file)?;
    if target.ends_with(',') {
        return Err(flaw("disk", &target, "a comma at its end"));
    }
    let access = if disk.writable { "rw" } else { "ro" };
    Ok(format!(
        "vdev={vdev},access={access},format=raw,backendtype=phy,script={hotplug},target={target}"
    ))
}

fn vif_line(vif: &Vif, hotplug: &str) -> Result<String, ConfigError> {
    let bridge = list_item("bridge", &vif.bridge)?;
    let mut mac = String::new();
    for (index, byte) in vif.mac.as_bytes().iter().enumerate() {
        let colon = if index == 0 { "" } else { ":" };
        // Writing to a String cannot fail.
        let _ = write!(mac, "{colon}{byte:02x}");
    }
    // For the script, which is the hotplug program.
    let ip = vif.address.map(|address| format!("ip={address},")).unwrap_or_default();
    Ok(format!("mac={mac},{ip}bridge={bridge},script={hotplug}"))
}

fn path_text(what: &'static str, path: &Path) -> Result<String, ConfigError> {
    match path.to_str() {
        Some(path) => text(what, path),
        None => Err(flaw(what, &path.to_string_lossy(), "bytes that are not UTF-8")),
    }
}

/// Refuses control characters, because libxlu's escapes for them are not reliable (`\xHH` skips a character, `\NNN` is
/// read as decimal; `tools/libs/util/libxlu_cfg.c`, Xen 4.20).
fn text(what: &'static str, value: &str) -> Result<String, ConfigError> {
    if value.chars().any(char::is_control) {
        return Err(flaw(what, value, "control characters"));
    }
    Ok(value.to_owned())
}

/// Checks a part of a disk or vif specification, in which a comma would begin the next part.
fn list_item(what: &'static str, value: &str) -> Result<String, ConfigError> {
    if value.contains(',') {
        return Err(flaw(what, value, "a comma"));
    }
    text(what, value)
}

fn flaw(what: &'static str, value: &str, flaw: &'static str) -> ConfigError {
    ConfigError::Value { what, value: value.to_owned(), flaw }
}

/// Writes a value in the syntax of xl.cfg.
fn format_value(
    out: &mut Output<'_>,
    _state: &mut State<'_, '_>,
    value: &Value,
) -> Result<(), Error> {
    Ok(out.write_str(&xl_value(value)?)?)
}

fn xl_value(value: &Value) -> Result<String, Error> {
    match value.kind() {
        ValueKind::Number => Ok(value.to_string()),
        ValueKind::Bool => Ok(u8::from(value.is_true()).to_string()),
        ValueKind::String => {
            let text = value.as_str().unwrap_or_default();
            Ok(format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
        }
        ValueKind::Seq => {
            let items = value.try_iter()?.map(|item| xl_value(&item));
            let items = items.collect::<Result<Vec<_>, _>>()?;
            Ok(if items.is_empty() { "[]".into() } else { format!("[ {} ]", items.join(", ")) })
        }
        ValueKind::Undefined => Err(Error::new(ErrorKind::UndefinedError, "unknown value")),
        other => Err(Error::new(
            ErrorKind::InvalidOperation,
            format!("{other} cannot be written to an xl config"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Shape, ToolstackKind, Uuid};

    fn spec(kind: Kind) -> DomainSpec {
        let folder = Path::new("/var/lib/launch/domains/5f0c6e9a1b2d");
        DomainSpec {
            id: "5f0c6e9a1b2d".into(),
            name: "nginx".into(),
            uuid: Uuid::from_bytes([0x5f; 16]),
            shape: Shape {
                kind,
                toolstack: ToolstackKind::Xl,
                kernel: "/usr/lib/launch/vmlinux".into(),
                ramdisk: "/usr/lib/launch/initrd".into(),
                cmdline: "console=hvc0 quiet rdinit=/init panic=-1 tsc=reliable".into(),
                memory_mib: 64,
                vcpus: 1,
            },
            disks: vec![
                Disk { vdev: "xvda".into(), file: folder.join("root.erofs"), writable: false },
                Disk { vdev: "xvdb".into(), file: folder.join("write.ext4"), writable: true },
            ],
            vif: Some(Vif {
                bridge: "launch0".into(),
                mac: contract::Mac([0, 0x16, 0x3e, 1, 2, 0xff]),
                address: Some([10, 107, 0, 2].into()),
            }),
            folder: folder.into(),
        }
    }

    fn settings(templates: PathBuf) -> Settings {
        Settings { hotplug: "/usr/lib/launch/hotplug".into(), templates }
    }

    fn render_built_in(spec: &DomainSpec) -> Result<String, ConfigError> {
        let no_edited_copy = settings("/nonexistent".into());
        render(spec, &no_edited_copy)
    }

    fn render_with(template: &str, spec: &DomainSpec) -> Result<String, ConfigError> {
        render_text(spec, Path::new("/h"), template, Path::new("x.cfg"))
    }

    /// Compares with `golden/NAME`; `GOLDEN=write cargo test` writes the file anew.
    fn assert_golden(name: &str, text: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(name);
        if std::env::var_os("GOLDEN").is_some_and(|value| value == "write") {
            std::fs::write(&path, text).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "{name} differs");
    }

    #[test]
    fn a_pvh_domain_renders_as_its_golden_file() {
        assert_golden("pvh.cfg", &render_built_in(&spec(Kind::Pvh)).unwrap());
    }

    #[test]
    fn a_pv_domain_renders_as_its_golden_file() {
        assert_golden("pv.cfg", &render_built_in(&spec(Kind::Pv)).unwrap());
    }

    #[test]
    fn a_domain_without_network_or_writable_layer_renders_as_its_golden_file() {
        let mut spec = spec(Kind::Pvh);
        spec.vif = None;
        spec.disks.truncate(1);
        assert_golden("bare.cfg", &render_built_in(&spec).unwrap());
    }

    #[test]
    fn quotes_and_backslashes_stay_inside_their_value() {
        let mut spec = spec(Kind::Pvh);
        spec.shape.cmdline = r#"a="b" c=\" type="pv"#.into();
        let text = render_with("cmdline = {{ cmdline }}\n", &spec).unwrap();
        assert_eq!(text, "cmdline = \"a=\\\"b\\\" c=\\\\\\\" type=\\\"pv\"\n");
    }

    #[test]
    fn a_name_with_a_line_break_is_refused() {
        let mut spec = spec(Kind::Pvh);
        spec.name = "web\"\nkernel=\"/tmp/evil".into();
        let error = render_built_in(&spec).unwrap_err().to_string();
        assert!(error.contains("control characters") && !error.contains('\n'), "{error}");
    }

    #[test]
    fn a_bridge_with_a_comma_is_refused_and_a_disk_with_one_is_not() {
        let mut spec = spec(Kind::Pvh);
        spec.disks[0].file = "/a,script=/tmp/evil".into();
        let text = render_built_in(&spec).unwrap();
        assert!(text.contains("target=/a,script=/tmp/evil\""), "{text}");
        spec.vif = Some(Vif {
            bridge: "x,script=/tmp/evil".into(),
            mac: contract::Mac([0; 6]),
            address: None,
        });
        assert!(render_built_in(&spec).unwrap_err().to_string().contains("comma"));
    }

    #[test]
    fn a_command_line_that_the_kernel_would_cut_is_refused() {
        let mut spec = spec(Kind::Pv);
        spec.shape.cmdline = "x".repeat(1023);
        render_built_in(&spec).unwrap();
        spec.shape.cmdline.push('x');
        assert!(matches!(render_built_in(&spec), Err(ConfigError::Cmdline { max: 1023, .. })));
        spec.shape.kind = Kind::Pvh;
        render_built_in(&spec).unwrap();
    }

    #[test]
    fn a_users_template_wins_and_its_errors_name_file_and_line() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path().into());
        let file = folder.path().join("pvh.cfg");
        std::fs::write(&file, "name = {{ name }}\ncpus = \"1\"\n").unwrap();
        let text = render(&spec(Kind::Pvh), &settings).unwrap();
        assert_eq!(text, "name = \"nginx\"\ncpus = \"1\"\n");
        std::fs::write(&file, "name = {{ name }}\nmemory = {{ memroy }}\n").unwrap();
        let error = render(&spec(Kind::Pvh), &settings).unwrap_err().to_string();
        assert!(error.contains("pvh.cfg: line 2"), "{error}");
    }
}
