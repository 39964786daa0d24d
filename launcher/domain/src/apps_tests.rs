//! What can be seen of apps without Xen: folders, names, locks, and what is left after failures.

use super::*;
use crate::follow::Followed;
use crate::log::Stream;
use crate::record::{Outcome, Phase};
use image::{Config, Digest, Image};
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

struct Machine {
    root: tempfile::TempDir,
    apps: Apps,
}

fn machine() -> Machine {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("disk.erofs"), "disk").unwrap();
    let apps =
        Apps::open(&root.path().join("state"), &Settings::default(), &net::Settings::default());
    Machine { apps: apps.unwrap(), root }
}

impl Machine {
    fn launch(&self) -> Launch {
        let image = Image {
            digest: Digest::of(b"manifest"),
            disk: self.root.path().join("disk.erofs"),
            disk_bytes: 4,
            config: Config { cmd: vec!["nginx".into()], ..Config::default() },
            names: vec![],
            created_unix: 0,
        };
        // Most tests need no writable layer, and not every machine has mke2fs.
        Launch { writable: WritableChoice::Memory, ..Launch::new(image, "library/nginx:latest") }
    }

    fn create(&self) -> App {
        self.apps.create(&self.launch()).unwrap()
    }

    /// Everything under the state folder that a failed or finished app might leave.
    fn leftovers(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for folder in ["domains", "names"] {
            for entry in fs::read_dir(self.root.path().join("state").join(folder)).unwrap() {
                let path = entry.unwrap().path();
                if !path.ends_with(".lock") && !path.ends_with(".looked") {
                    found.push(path);
                }
            }
        }
        found
    }
}

#[test]
fn a_created_app_is_found_by_name_and_by_the_start_of_its_id() {
    let machine = machine();
    let app = machine.create();
    assert_eq!((app.record.name.as_str(), app.state.phase), ("nginx", Phase::Created));
    for name in ["nginx", &app.record.id, &app.record.id[..3]] {
        assert_eq!(machine.apps.find(name).unwrap().record, app.record, "{name}");
    }
    for name in ["", "redis", "../nginx", "zz"] {
        assert!(matches!(machine.apps.find(name), Err(AppsError::Unknown(_))), "{name:?}");
    }
}

#[test]
fn an_app_that_is_to_go_when_it_ends_stays_until_it_was_started() {
    let machine = machine();
    let launch = Launch { remove_on_exit: true, ..machine.launch() };
    let app = machine.apps.create(&launch).unwrap();
    let id = app.record.id.clone();
    drop(app);
    assert!(machine.apps.repair(&id).unwrap().is_none());
    assert_eq!(machine.apps.find("nginx").unwrap().state.phase, Phase::Created);
}

#[test]
fn an_app_with_a_damaged_record_hides_no_other() {
    let machine = machine();
    let [damaged, whole] = [machine.create(), machine.create()];
    let folder = machine.apps.folder(&damaged.record.id);
    fs::write(folder.file(folder::RECORD), "").unwrap();
    let listed: Vec<_> = machine.apps.list().unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].record.id, whole.record.id);
    let error = machine.apps.find(&damaged.record.name).unwrap_err();
    assert!(matches!(error, AppsError::File(error) if error.is_damaged()));
    let name = damaged.record.name.clone();
    // As long as somebody makes it, it is not damaged but not yet complete.
    assert!(!machine.apps.remove_damaged(&name).unwrap());
    drop(damaged);
    assert!(machine.apps.remove_damaged(&name).unwrap());
    assert!(!folder.path().exists());
}

#[test]
fn a_domain_that_waits_with_a_note_of_another_version_is_removed() {
    let machine = machine();
    let folder = Folder::new(machine.apps.pool().join("0123456789ab"));
    fs::create_dir_all(machine.apps.pool()).unwrap();
    drop(folder.make().unwrap());
    fs::write(folder.file(folder::WAITING), r#"{"machine":"of old"}"#).unwrap();
    assert_eq!(machine.apps.repair_waiting().unwrap(), ["0123456789ab"]);
    assert!(!folder.path().exists());
}

#[test]
fn damaged_files_of_the_network_are_made_anew_from_what_apps_have() {
    let machine = machine();
    let apps = &machine.apps;
    let publish = vec!["8080:80".parse().unwrap()];
    let mac = Some(contract::Mac([2, 0, 0, 0, 0, 7]));
    let web = apps.create(&Launch { publish: publish.clone(), mac, ..machine.launch() }).unwrap();
    let [ended, asked] = [machine.create(), machine.create()];
    let note = |app: &App, phase, last| {
        let address = Some([10, 107, 0, last].into());
        apps.folder(&app.record.id)
            .write_state(&State { phase, address, ..State::default() })
            .unwrap();
    };
    note(&web, Phase::Running, 5);
    note(&ended, Phase::Exited, 6);
    // It has a config for `xl create` with an address.
    note(&asked, Phase::Created, 7);
    let waiting = Folder::new(apps.pool().join("0123456789ab"));
    fs::create_dir_all(apps.pool()).unwrap();
    drop(waiting.make().unwrap());
    let noted = Waiting {
        machine: web.record.machine.clone(),
        image: None,
        furnished: true,
        address: Some([10, 107, 0, 8].into()),
        created_unix_ms: 0,
        domid: 9,
    };
    folder::write_json(&waiting.file(folder::WAITING), &noted).unwrap();
    let older = Folder::new(apps.pool().join("ba9876543210"));
    drop(older.make().unwrap());
    folder::write_json(&older.file(folder::WAITING), &Waiting { address: None, ..noted }).unwrap();

    let leases = machine.root.path().join("state/leases");
    let ports = machine.root.path().join("state/ports");
    for damage in [&b""[..], b"{\"last\":null,\"own", b"garbage", &[0; 64]] {
        fs::write(&leases, damage).unwrap();
        fs::write(&ports, damage).unwrap();
        let (found, mended) = apps.with_mended_network(net::Network::leases).unwrap();
        let expected = [(&web, 5), (&asked, 7)].map(|(app, last)| (app.record.id.clone(), last));
        let expected = expected.into_iter().chain([("0123456789ab".to_owned(), 8)]);
        let expected = expected.map(|(id, last)| (id, [10, 107, 0, last].into()));
        assert_eq!(found, expected.collect());
        assert_eq!(mended, [leases.clone(), ports.clone()]);
        let published = apps.with_network(net::Network::published).unwrap();
        assert_eq!(published.keys().collect::<Vec<_>>(), [&web.record.id]);
        // The link address that was wished for as well.
        assert!(fs::read_to_string(&leases).unwrap().contains("[2,0,0,0,0,7]"));
    }
    // Its address is not known, so nobody takes it.
    assert!(!older.file(folder::WAITING).exists());
    // One damaged file takes the other along in nothing.
    let before = fs::read(&leases).unwrap();
    fs::write(&ports, "").unwrap();
    assert_eq!(apps.with_mended_network(net::Network::published).unwrap().1, [ports]);
    assert_eq!(fs::read(&leases).unwrap(), before);
}

#[test]
fn all_state_is_for_root_only_also_where_an_older_version_left_it_open() {
    let machine = machine();
    let state = machine.root.path().join("state");
    fs::create_dir_all(state.join("pool/0123456789ab")).unwrap();
    fs::write(state.join("leases"), "{}").unwrap();
    drop(machine.create());
    drop(image::Store::open(state.join("images")).unwrap());
    let all = |path: &Path| walk(path);
    for path in all(&state) {
        let data = fs::symlink_metadata(&path).unwrap();
        if !data.is_symlink() {
            let mode = if data.is_dir() { 0o755 } else { 0o644 };
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
    }
    Apps::open(&state, &Settings::default(), &net::Settings::default()).unwrap();
    let found = all(&state);
    assert!(found.len() > 10, "{found:?}");
    for path in found {
        let data = fs::symlink_metadata(&path).unwrap();
        let open = !data.is_symlink() && data.permissions().mode() & 0o077 != 0;
        assert!(!open, "{}", path.display());
    }
}

/// A folder and all below it.
fn walk(path: &Path) -> Vec<PathBuf> {
    let mut found = vec![path.to_owned()];
    if fs::symlink_metadata(path).unwrap().is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            found.extend(walk(&entry.unwrap().path()));
        }
    }
    found
}

#[test]
fn an_ambiguous_start_of_an_id_is_refused() {
    let machine = machine();
    // Seventeen ids have two that begin alike.
    let apps: Vec<App> = (0..17).map(|_| machine.create()).collect();
    let mut seen = BTreeSet::new();
    let digit = |app: &App| app.record.id[..1].to_owned();
    let twice = apps.iter().find(|app| !seen.insert(digit(app))).map(digit).unwrap();
    assert!(matches!(machine.apps.find(&twice), Err(AppsError::Ambiguous(..))));
}

#[test]
fn apps_created_at_once_get_names_of_their_own() {
    let machine = machine();
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| machine.create());
        }
    });
    let names: BTreeSet<String> =
        machine.apps.list().unwrap().into_iter().map(|app| app.record.name).collect();
    let expected = (1..=16).map(|n| if n == 1 { "nginx".into() } else { format!("nginx-{n}") });
    assert_eq!(names, expected.collect());
}

#[test]
fn a_launch_that_makes_no_sense_leaves_nothing() {
    let machine = machine();
    let wrong: [fn(&mut Launch); 5] = [
        |launch| launch.entrypoint = Some(vec![String::new()]),
        |launch| launch.machine.memory_mib = Some(1),
        |launch| launch.name = Some("no good".into()),
        |launch| launch.image.disk = "/nonexistent/disk.erofs".into(),
        |launch| (launch.writable, launch.storage_mib) = (WritableChoice::Disk, Some(1)),
    ];
    for change in wrong {
        let mut launch = machine.launch();
        change(&mut launch);
        assert!(machine.apps.create(&launch).is_err());
        assert!(machine.leftovers().is_empty(), "{:?}", machine.leftovers());
    }
}

#[test]
fn a_taken_name_is_refused_and_free_again_after_removal() {
    let machine = machine();
    let launch = Launch { name: Some("web".into()), ..machine.launch() };
    let app = machine.apps.create(&launch).unwrap();
    assert!(matches!(machine.apps.create(&launch), Err(AppsError::NameTaken(_))));
    machine.apps.remove(&app, false).unwrap();
    assert!(machine.leftovers().is_empty(), "{:?}", machine.leftovers());
    machine.apps.create(&launch).unwrap();
}

#[test]
fn the_disk_outlives_its_image() {
    let machine = machine();
    let app = machine.create();
    fs::remove_file(machine.root.path().join("disk.erofs")).unwrap();
    let disk = machine.apps.folder(&app.record.id).file(folder::ROOT_DISK);
    assert_eq!(fs::read(disk).unwrap(), b"disk");
}

#[test]
fn a_start_without_xen_says_so_and_the_app_can_be_removed() {
    if Path::new("/dev/xen/privcmd").exists() {
        eprintln!("skipped: this is a dom0");
        return;
    }
    let machine = machine();
    let mut app = machine.create();
    let error = machine.apps.start(&mut app).unwrap_err().to_string();
    assert!(error.contains("/dev/xen/privcmd") && error.contains("not a Xen dom0"), "{error}");
    assert_eq!(machine.apps.find("nginx").unwrap().state.phase, Phase::Created);
    machine.apps.remove(&app, true).unwrap();
    assert!(machine.leftovers().is_empty(), "{:?}", machine.leftovers());
}

#[test]
fn an_app_that_someone_is_in_charge_of_is_not_removed() {
    let machine = machine();
    drop(machine.create());
    let app = machine.apps.find("nginx").unwrap();
    let lock = machine.apps.folder(&app.record.id).try_lock().unwrap();
    assert!(matches!(machine.apps.remove(&app, false), Err(AppsError::Running(_))));
    drop(lock);
    machine.apps.remove(&app, false).unwrap();
}

#[test]
fn an_app_made_only_in_part_is_cleared_away_unless_its_maker_lives() {
    let machine = machine();
    let folder = machine.apps.folder("0123456789ab");
    let lock = folder.make().unwrap();
    assert_eq!(machine.apps.reconcile().unwrap(), []);
    assert!(folder.path().exists());
    drop(lock);
    let repairs = machine.apps.reconcile().unwrap();
    assert!(repairs[0].to_string().contains("0123456789ab"), "{repairs:?}");
    assert!(machine.leftovers().is_empty(), "{:?}", machine.leftovers());
    assert_eq!(machine.apps.reconcile().unwrap(), []);
}

#[test]
fn an_app_whose_remover_was_killed_before_its_name_was_free_is_removed_with_its_name() {
    let machine = machine();
    let app = machine.create();
    machine.apps.folder(&app.record.id).remove_record().unwrap();
    drop(app);
    assert_eq!(machine.apps.reconcile().unwrap().len(), 1);
    assert_eq!(machine.leftovers(), Vec::<PathBuf>::new());
}

#[test]
fn a_created_app_is_left_alone_by_repairs() {
    let machine = machine();
    drop(machine.create());
    assert_eq!(machine.apps.reconcile().unwrap(), []);
    machine.apps.find("nginx").unwrap();
}

#[test]
fn an_address_of_an_app_that_is_gone_is_given_back() {
    let machine = machine();
    machine.apps.network.lease("ffffffffffff", None, None).unwrap();
    let repairs = machine.apps.reconcile().unwrap();
    assert!(repairs[0].to_string().contains("ffffffffffff"), "{repairs:?}");
    assert!(machine.apps.network.leases().unwrap().is_empty());
}

#[test]
fn the_address_of_a_domain_that_waits_is_kept_by_repairs_until_the_app_that_takes_it_has_a_record()
{
    let machine = machine();
    let waiting = Folder::new(machine.apps.pool().join("0123456789ab"));
    fs::create_dir_all(machine.apps.pool()).unwrap();
    let _lock = waiting.make().unwrap();
    machine.apps.network.lease(waiting.id(), None, None).unwrap();
    assert_eq!(machine.apps.reconcile().unwrap(), []);
    let taken = machine.apps.folder(waiting.id());
    fs::rename(waiting.path(), taken.path()).unwrap();
    assert_eq!(machine.apps.reconcile().unwrap(), []);
    assert_eq!(machine.apps.network.leases().unwrap().len(), 1);
}

#[test]
fn a_furnished_domain_fits_apps_of_the_usual_network_and_layer_only() {
    let machine = machine();
    let Record { machine: what, .. } = machine.create().record;
    let now = Waiting {
        machine: what.clone(),
        image: None,
        furnished: true,
        address: None,
        created_unix_ms: u64::MAX / 2,
        domid: 1,
    };
    // Kernel and ramdisk are looked at too.
    let (kernel, ramdisk) =
        (machine.root.path().join("vmlinux"), machine.root.path().join("initrd"));
    for path in [&kernel, &ramdisk] {
        fs::write(path, "").unwrap();
    }
    let what = crate::spec::Machine { kernel, ramdisk, ..what };
    let waiting = Waiting { machine: what.clone(), ..now };
    let fits =
        |launch: &Launch, waiting: &Waiting| waiting.fits(&what, launch, machine.apps.settings());
    let usual = Launch { writable: WritableChoice::Disk, ..machine.launch() };
    let none = Launch { network: net::NetworkRequest::None, ..usual.clone() };
    let ip = Launch { ip: Some("10.107.0.9".into()), ..usual.clone() };
    let mac = Launch { mac: Some(contract::Mac([0, 0x16, 0x3e, 1, 2, 3])), ..usual.clone() };
    let size = machine.apps.settings().storage_mib;
    let same_size = Launch { storage_mib: Some(size), ..usual.clone() };
    let larger = Launch { storage_mib: Some(size + 1), ..usual.clone() };
    let memory = Launch { writable: WritableChoice::Memory, ..usual.clone() };
    let nothing = Launch { writable: WritableChoice::Nothing, ..usual.clone() };
    for usual in [usual, same_size] {
        assert!(fits(&usual, &waiting), "{usual:?}");
    }
    let without = Waiting { furnished: false, ..waiting.clone() };
    for other in [none, ip, mac, larger, memory, nothing] {
        assert!(!fits(&other, &waiting), "{other:?}");
        assert!(fits(&other, &without), "{other:?}");
    }
}

#[test]
fn the_log_is_followed_through_rotation_to_the_end() {
    let machine = machine();
    let mut app = machine.create();
    let lock = app.lock.take().unwrap();
    let folder = machine.apps.folder(&app.record.id);
    let mut log = crate::log::Log::open(&folder, 64).unwrap();
    log.write(Stream::Stdout, b"before ").unwrap();
    let mut follow = machine.apps.follow(&app, Part::default()).unwrap();
    let writer = std::thread::spawn(move || {
        for part in ["one ", "two ", "three ", "four"] {
            std::thread::sleep(Duration::from_millis(20));
            log.write(Stream::Stdout, part.as_bytes()).unwrap();
        }
        lock.leave(&Outcome { code: 7, message: None }).unwrap();
    });
    let mut text = Vec::new();
    let outcome = loop {
        match follow.next(Duration::from_secs(10)).unwrap() {
            Followed::Output(entries) => {
                text.extend(entries.into_iter().flat_map(|entry| entry.bytes))
            }
            Followed::Gap => panic!("a gap after {text:?}"),
            Followed::Nothing => panic!("nothing for ten seconds after {text:?}"),
            Followed::Ended(outcome) => break outcome,
        }
    };
    writer.join().unwrap();
    assert_eq!(String::from_utf8(text).unwrap(), "before one two three four");
    assert_eq!(outcome.code, 7);
}

#[test]
fn an_app_that_never_ran_has_no_output_and_ends_at_once() {
    let machine = machine();
    drop(machine.create());
    let app = machine.apps.find("nginx").unwrap();
    let mut follow = machine.apps.follow(&app, Part::default()).unwrap();
    assert!(matches!(follow.next(Duration::ZERO).unwrap(), Followed::Ended(_)));
}

#[test]
fn an_image_is_spared_by_stopped_apps_that_have_its_disk_for_themselves() {
    let machine = machine();
    let app = machine.create();
    assert!(machine.apps.can_spare_image(&app));
    let mut running = machine.apps.find("nginx").unwrap();
    running.state.phase = Phase::Running;
    assert!(!machine.apps.can_spare_image(&running));
    // As when apps and images are on two file systems.
    let disk = machine.apps.folder(&app.record.id).file(folder::ROOT_DISK);
    fs::remove_file(&disk).unwrap();
    std::os::unix::fs::symlink(machine.root.path().join("disk.erofs"), &disk).unwrap();
    assert!(!machine.apps.can_spare_image(&app));
}
