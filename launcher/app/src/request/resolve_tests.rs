//! Tests of Docker's merging rules.

use super::*;
use crate::record::writable_choice::WritableChoice;
use crate::request::domain::{Link, domain_spec};
use crate::request::limits::MIN_MEMORY_MIB;
use crate::request::process::DEFAULT_PATH;
use crate::request::shape::shape;
use contract::Neighbour;
use image::{Config, Digest, Image};
use std::path::Path;
use toolstack::{Kind, ToolstackKind};

fn launch(config: Config) -> RunRequest {
    let image = Image {
        digest: Digest::of(b"manifest"),
        disk: "/images/disk.erofs".into(),
        disk_bytes: 4096,
        disk_file: (0, 0),
        config,
        names: vec![],
        created_unix: 0,
    };
    RunRequest::new(image, "docker.io/library/nginx:latest")
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn nginx() -> RunRequest {
    launch(Config {
        entrypoint: vec!["/entrypoint.sh".into()],
        cmd: ["nginx", "-g", "daemon off;"].map(Into::into).into(),
        env: ["NGINX_VERSION=1.22", "PATH=/opt/bin:/bin"].map(Into::into).into(),
        working_dir: "srv".into(),
        user: "www-data".into(),
        stop_signal: Some("SIGQUIT".into()),
        ..Config::default()
    })
}

fn identity() -> Identity {
    Identity {
        id: "5f0c6e9a1b2d".into(),
        name: "nginx".into(),
        uuid: Uuid::from_bytes([7; 16]),
        created_unix_ms: 1,
    }
}

fn record(launch: &RunRequest) -> Result<Record, ResolveError> {
    let (settings, image) = (Settings::default(), Some((&launch.image.config, "nginx")));
    let chosen = (ToolstackKind::Native, launch.shape.kind.unwrap_or(Kind::Pvh));
    let machine = shape(&launch.shape, image, &settings, chosen)?;
    resolve(launch, machine, identity(), &settings)
}

/// The record of an app with a user's own settings.
pub(crate) fn record_of_nginx() -> Record {
    let mut launch = nginx();
    launch.env = strings(&["A=b"]);
    record(&launch).unwrap()
}

fn args(launch: &RunRequest) -> Vec<String> {
    record(launch).unwrap().process.args
}

#[test]
fn an_image_runs_its_entrypoint_with_its_command() {
    assert_eq!(args(&nginx()), ["/entrypoint.sh", "nginx", "-g", "daemon off;"]);
}

#[test]
fn arguments_replace_the_images_command() {
    let mut launch = nginx();
    launch.args = strings(&["nginx", "-T"]);
    assert_eq!(args(&launch), ["/entrypoint.sh", "nginx", "-T"]);
}

#[test]
fn an_entrypoint_drops_the_images_command() {
    let mut launch = nginx();
    launch.entrypoint = Some(strings(&["/bin/sh"]));
    assert_eq!(args(&launch), ["/bin/sh"]);
    launch.args = strings(&["-c", "id"]);
    assert_eq!(args(&launch), ["/bin/sh", "-c", "id"]);
}

#[test]
fn an_empty_entrypoint_leaves_only_the_arguments() {
    let mut launch = nginx();
    launch.entrypoint = Some(strings(&[""]));
    launch.args = strings(&["id"]);
    assert_eq!(args(&launch), ["id"]);
}

#[test]
fn nothing_to_run_is_an_error_that_names_the_image() {
    let mut empty_entrypoint = nginx();
    empty_entrypoint.entrypoint = Some(strings(&[""]));
    for launch in [launch(Config::default()), empty_entrypoint] {
        let error = record(&launch).unwrap_err().to_string();
        assert!(error.contains("library/nginx") && error.contains("--entrypoint"), "{error}");
    }
}

#[test]
fn the_users_variables_win_over_the_images_and_those_over_the_defaults() {
    let mut launch = nginx();
    launch.env = strings(&["NGINX_VERSION=2", "EMPTY=", "NEW=a=b"]);
    assert_eq!(
        record(&launch).unwrap().process.env,
        ["PATH=/opt/bin:/bin", "HOSTNAME=5f0c6e9a1b2d", "NGINX_VERSION=2", "EMPTY=", "NEW=a=b"]
    );
}

#[test]
fn a_variable_without_a_value_is_taken_away() {
    let mut launch = nginx();
    launch.env = strings(&["NGINX_VERSION", "ABSENT"]);
    assert_eq!(
        record(&launch).unwrap().process.env,
        ["PATH=/opt/bin:/bin", "HOSTNAME=5f0c6e9a1b2d"]
    );
}

#[test]
fn an_image_without_path_gets_dockers() {
    let mut launch = launch(Config::default());
    launch.args = strings(&["/server"]);
    assert_eq!(record(&launch).unwrap().process.env[0], DEFAULT_PATH);
}

#[test]
fn user_folder_and_stop_signal_come_from_the_image_unless_given() {
    let mut launch = nginx();
    let process = record(&launch).unwrap().process;
    assert_eq!((process.user.as_str(), process.cwd.as_str()), ("www-data", "/srv"));
    assert_eq!((process.stop_signal, process.stop_timeout_ms), (3, 10_000));
    launch.user = Some("0:0".into());
    launch.cwd = Some("/tmp".into());
    launch.stop_signal = Some("RTMIN+3".into());
    launch.stop_timeout_s = Some(0);
    let process = record(&launch).unwrap().process;
    assert_eq!((process.user.as_str(), process.cwd.as_str()), ("0:0", "/tmp"));
    assert_eq!((process.stop_signal, process.stop_timeout_ms), (37, 0));
}

#[test]
fn a_relative_folder_of_the_users_is_refused() {
    let mut launch = nginx();
    launch.cwd = Some("srv".into());
    assert!(matches!(record(&launch), Err(ResolveError::Cwd(_))));
}

#[test]
fn an_empty_folder_of_the_users_is_none() {
    let mut launch = nginx();
    launch.cwd = Some(String::new());
    assert_eq!(record(&launch).unwrap().process.cwd, "/srv");
}

#[test]
fn memory_comes_from_flag_then_label_then_settings() {
    let mut launch = nginx();
    assert_eq!(record(&launch).unwrap().shape.memory_mib, 64);
    launch.image.config.labels.insert("launch.memory".into(), "256M".into());
    assert_eq!(record(&launch).unwrap().shape.memory_mib, 256);
    launch.shape.memory_mib = Some(32);
    assert_eq!(record(&launch).unwrap().shape.memory_mib, 32);
}

#[test]
fn an_images_wishes_are_bounded_by_the_settings_and_a_users_are_not() {
    let mut launch = nginx();
    launch.image.config.labels.insert("launch.memory".into(), "2000m".into());
    launch.image.config.stop_timeout_s = Some(1_000_000_000);
    let settings = Settings::default();
    let made = record(&launch).unwrap();
    assert_eq!(made.shape.memory_mib, settings.max_image_memory_mib);
    assert_eq!(made.process.stop_timeout_ms, settings.max_image_stop_timeout_s * 1000);
    let lines: Vec<String> =
        crate::cut_requests(&launch, &settings).iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "the image asks for 2000 MiB of memory and gets 1024 MiB, \
             max_image_memory_mib under [domain]; --memory gives more",
            "the image asks for 1000000000 seconds to stop and gets 60, \
             max_image_stop_timeout_s under [domain]; --stop-timeout gives more",
        ]
    );

    launch.shape.memory_mib = Some(2000);
    launch.stop_timeout_s = Some(3600);
    let made = record(&launch).unwrap();
    assert_eq!((made.shape.memory_mib, made.process.stop_timeout_ms), (2000, 3_600_000));
    assert_eq!(crate::cut_requests(&launch, &settings), []);
}

#[test]
fn too_little_memory_is_refused_with_the_least_that_works() {
    let mut launch = nginx();
    launch.shape.memory_mib = Some(MIN_MEMORY_MIB - 1);
    let error = record(&launch).unwrap_err().to_string();
    assert!(error.contains("15 MiB") && error.contains("at least 16 MiB"), "{error}");
}

#[test]
fn a_wrong_memory_label_is_named() {
    let mut launch = nginx();
    launch.image.config.labels.insert("io.launch.memory".into(), "lots".into());
    let error = record(&launch).unwrap_err();
    assert!(error.to_string().contains("io.launch.memory"), "{error}");
}

#[test]
fn all_that_linux_takes_is_taken_and_what_the_guest_does_not_read_is_refused() {
    let mut launch = nginx();
    // As JSON, each character takes six bytes.
    launch.args = vec!["\u{1}".repeat(131_000); 16];
    record(&launch).unwrap();
    launch.args = vec!["x".repeat(131_000); 128];
    let error = record(&launch).unwrap_err();
    assert!(matches!(error, ResolveError::OrdersTooLarge { bytes: 16_768_000.. }), "{error}");
}

#[test]
fn tens_of_thousands_of_variables_are_merged_in_place() {
    let mut launch = nginx();
    launch.env = (0..100_000).map(|number| format!("V{}={number}", number % 60_000)).collect();
    launch.env.push("V7".into());
    let env = record(&launch).unwrap().process.env;
    assert_eq!(env.len(), 60_002);
    assert_eq!((env[3].as_str(), env[10].as_str()), ("V0=60000", "V8=60008"));
    assert_eq!(env.last().unwrap(), "V59999=59999");
}

#[test]
fn a_nul_is_refused_wherever_it_hides() {
    for change in [
        |launch: &mut RunRequest| launch.args = vec!["a\0b".into()],
        |launch: &mut RunRequest| launch.env = vec!["A=\0".into()],
        |launch: &mut RunRequest| launch.user = Some("\0".into()),
        |launch: &mut RunRequest| launch.cwd = Some("/\0".into()),
    ] {
        let mut launch = nginx();
        change(&mut launch);
        assert!(matches!(record(&launch), Err(ResolveError::Nul { .. })));
    }
}

#[test]
fn ports_need_launchs_own_network() {
    let mut launch = nginx();
    launch.publish = vec!["8080:80".parse().unwrap()];
    record(&launch).unwrap();
    launch.network = net::NetworkRequest::None;
    assert!(matches!(record(&launch), Err(ResolveError::PublishWithoutNetwork)));
}

#[test]
fn extra_words_come_last_on_the_kernels_command_line() {
    let mut launch = nginx();
    launch.shape.extra = Some(" loglevel=7 ".into());
    let cmdline = record(&launch).unwrap().shape.cmdline;
    assert_eq!(
        cmdline,
        "console=hvc0 rdinit=/init panic=-1 tsc=reliable xen_blkfront.feature_persistent=0 \
         quiet loglevel=1 loglevel=7"
    );
    launch.shape.verbose_kernel = true;
    assert!(!record(&launch).unwrap().shape.cmdline.contains("quiet"));
}

#[test]
fn a_hostname_that_hosts_files_cannot_hold_is_refused() {
    for name in ["", "-web", "a b", "web\n127.0.0.1 x", &"x".repeat(65)] {
        let mut launch = nginx();
        launch.hostname = Some(name.to_owned());
        assert!(matches!(record(&launch), Err(ResolveError::Hostname(_))), "{name:?} was taken");
    }
}

#[test]
fn orders_carry_the_lease_and_a_static_neighbour() {
    let record = record(&nginx()).unwrap();
    let gateway = "10.107.0.1".parse().unwrap();
    let link = Link {
        bridge: "launch0".into(),
        lease: net::Lease {
            address: "10.107.0.2".parse().unwrap(),
            prefix: 16,
            gateway: Some(gateway),
            mac: contract::Mac([2; 6]),
        },
        gateway_mac: Some(contract::Mac([4; 6])),
    };
    let resolver = net::Resolver { servers: vec![gateway], search: vec![] };
    let orders = render_orders(&record, Some(&link), &resolver, &[0xab, 0x01]);
    assert_eq!(orders.seed, "ab01");
    let network = orders.network.unwrap();
    assert_eq!(network.neighbours, [Neighbour { address: gateway, mac: contract::Mac([4; 6]) }]);
    assert_eq!(network.dns, [gateway]);
    assert_eq!(render_orders(&record, None, &resolver, &[]).network, None);
}

#[test]
fn a_read_only_app_has_no_writable_disk() {
    let mut launch = nginx();
    let disks = |launch: &RunRequest| -> Vec<String> {
        let spec = domain_spec(&record(launch).unwrap(), Path::new("/d"), None);
        spec.disks.into_iter().map(|disk| disk.vdev).collect()
    };
    assert_eq!(disks(&launch), ["xvda", "xvdb"]);
    launch.writable = WritableChoice::Nothing;
    assert_eq!(disks(&launch), ["xvda"]);
    launch.writable = WritableChoice::Memory;
    assert_eq!(disks(&launch), ["xvda"]);
}

#[test]
fn an_app_runs_its_image_alone_unless_a_user_has_a_say_in_what_it_does() {
    let with = |change: fn(&mut RunRequest)| {
        let mut launch = nginx();
        change(&mut launch);
        record(&launch).unwrap().is_image_alone
    };
    assert!(with(|_| {}));
    assert!(with(|launch| launch.name = Some("web".into())));
    assert!(with(|launch| launch.remove_on_exit = true));
    let changes: [fn(&mut RunRequest); 10] = [
        |launch| launch.entrypoint = Some(strings(&["sh"])),
        |launch| launch.args = strings(&["sh"]),
        |launch| launch.env = strings(&["A=b"]),
        |launch| launch.cwd = Some("/tmp".into()),
        |launch| launch.user = Some("root".into()),
        |launch| launch.stdin = true,
        |launch| launch.terminal = true,
        |launch| launch.hostname = Some("a".into()),
        |launch| launch.shape.kernel = Some("/tmp/vmlinux".into()),
        |launch| launch.shape.extra = Some("init=/bin/sh".into()),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        assert!(!with(change), "change {number}");
    }
}
