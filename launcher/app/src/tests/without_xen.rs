//! What works for apps without Xen: folders, names, locks, and the cleanup after failures.

use super::host;
use crate::apps::{App, Apps};
use crate::error::AppsError;
use crate::follow::{Followed, follow};
use crate::life::create::create;
use crate::life::remove::{remove, remove_damaged};
use crate::life::repair::{repair, repair_app};
use crate::life::start::start;
use crate::log::writer::{Log, LogFilter};
use crate::network::{with_mended_network, with_network};
use crate::pool::fit::fits;
use crate::pool::pooled;
use crate::record::app::Record;
use crate::record::outcome::Outcome;
use crate::record::pooled_domain::PooledDomain;
use crate::record::state::{Phase, State};
use crate::record::writable_choice::WritableChoice;
use crate::request::error::ResolveError;
use crate::request::run_request::RunRequest;
use crate::settings::Settings;
use crate::storage::writable::WritableError;
use crate::store::folder::{self, Folder};
use crate::store::names::NameError;
use contract::Stream;
use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toolstack::DomId;

#[test]
fn a_created_app_is_found_by_name_and_by_the_start_of_its_id() {
    let host = host();
    let app = host.create();
    assert_eq!((app.record.name.as_str(), app.state.phase()), ("nginx", Phase::Created));
    for name in ["nginx", &app.record.id, &app.record.id[..3]] {
        assert_eq!(host.apps.find(name).unwrap().record, app.record, "{name}");
    }
    for name in ["", "redis", "../nginx", "zz"] {
        assert!(matches!(host.apps.find(name), Err(AppsError::Unknown(_))), "{name:?}");
    }
}

#[test]
fn an_app_that_is_to_go_when_it_ends_stays_until_it_was_started() {
    let host = host();
    let launch = RunRequest { remove_on_exit: true, ..host.request() };
    let app = create(&host.apps, &launch).unwrap();
    let id = app.record.id.clone();
    drop(app);
    assert!(repair_app(&host.apps, &id).unwrap().is_none());
    assert_eq!(host.apps.find("nginx").unwrap().state.phase(), Phase::Created);
}

#[test]
fn an_app_with_a_damaged_record_hides_no_other() {
    let host = host();
    let [damaged, whole] = [host.create(), host.create()];
    let folder = host.apps.folder(&damaged.record.id);
    fs::write(folder.file(folder::RECORD), "").unwrap();
    let listed: Vec<_> = host.apps.list().unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].record.id, whole.record.id);
    let error = host.apps.find(&damaged.record.name).unwrap_err();
    assert!(matches!(error, AppsError::File(error) if error.is_damaged()));
    let name = damaged.record.name.clone();
    // While another process creates it, the app is not damaged but incomplete.
    let lock = folder.try_lock().unwrap();
    assert!(!remove_damaged(&host.apps, &name).unwrap());
    drop(lock);
    assert!(remove_damaged(&host.apps, &name).unwrap());
    assert!(!folder.path().exists());
}

#[test]
fn a_domain_that_waits_with_a_note_of_another_version_is_removed() {
    let host = host();
    let folder = Folder::new(host.apps.pool_folder().join("0123456789ab"));
    fs::create_dir_all(host.apps.pool_folder()).unwrap();
    drop(folder.make().unwrap());
    fs::write(folder.file(folder::POOLED), r#"{"machine":"of old"}"#).unwrap();
    assert_eq!(pooled::repair(&host.apps).unwrap(), ["0123456789ab"]);
    assert!(!folder.path().exists());
}

#[test]
fn damaged_files_of_the_network_are_rebuilt_from_what_apps_have() {
    let host = host();
    let apps = &host.apps;
    let publish = vec!["8080:80".parse().unwrap()];
    let mac = Some(contract::Mac([2, 0, 0, 0, 0, 7]));
    let web =
        create(apps, &RunRequest { publish: publish.clone(), mac, ..host.request() }).unwrap();
    let [ended, asked] = [host.create(), host.create()];
    let address = |last| Some(IpAddr::from([10, 107, 0, last]));
    let note = |app: &App, state: State| {
        apps.folder(&app.record.id).write_state(&state).unwrap();
    };
    let runs = |last| State::default().running(DomId(1), address(last), 1);
    note(&web, runs(5));
    note(&ended, runs(6).exited(Outcome::with_code(0), 2));
    // The app has a config for `xl create` with an address.
    note(&asked, State::Created { address: address(7) });
    let pooled = Folder::new(apps.pool_folder().join("0123456789ab"));
    fs::create_dir_all(apps.pool_folder()).unwrap();
    drop(pooled.make().unwrap());
    let noted = PooledDomain {
        shape: web.record.shape.clone(),
        image: None,
        furnished: true,
        address: Some([10, 107, 0, 8].into()),
        created_unix_ms: 0,
        domid: 9,
    };
    files::write_json(&pooled.file(folder::POOLED), &noted, files::Durability::Crash).unwrap();
    let older = Folder::new(apps.pool_folder().join("ba9876543210"));
    drop(older.make().unwrap());
    files::write_json(
        &older.file(folder::POOLED),
        &PooledDomain { address: None, ..noted },
        files::Durability::Crash,
    )
    .unwrap();

    let leases = host.root.path().join("state/leases");
    let ports = host.root.path().join("state/ports");
    for damage in [&b""[..], b"{\"last\":null,\"own", b"garbage", &[0; 64]] {
        fs::write(&leases, damage).unwrap();
        fs::write(&ports, damage).unwrap();
        let (found, mended) = with_mended_network(apps, net::Network::leases).unwrap();
        let expected = [(&web, 5), (&asked, 7)].map(|(app, last)| (app.record.id.clone(), last));
        let expected = expected.into_iter().chain([("0123456789ab".to_owned(), 8)]);
        let expected = expected.map(|(id, last)| (id, [10, 107, 0, last].into()));
        assert_eq!(found, expected.collect());
        assert_eq!(mended, [leases.clone(), ports.clone()]);
        let published = with_network(apps, net::Network::published).unwrap();
        assert_eq!(published.keys().collect::<Vec<_>>(), [&web.record.id]);
        // The requested link address is kept too.
        assert!(fs::read_to_string(&leases).unwrap().contains("[2,0,0,0,0,7]"));
    }
    // Its address is unknown, so no launch ever takes it.
    assert!(!older.file(folder::POOLED).exists());
    // One damaged file does not change the other.
    let before = fs::read(&leases).unwrap();
    fs::write(&ports, "").unwrap();
    assert_eq!(with_mended_network(apps, net::Network::published).unwrap().1, [ports]);
    assert_eq!(fs::read(&leases).unwrap(), before);
}

#[test]
fn all_state_is_for_root_only_also_where_an_older_version_left_it_open() {
    let host = host();
    let state = host.root.path().join("state");
    fs::create_dir_all(state.join("pool/0123456789ab")).unwrap();
    fs::write(state.join("leases"), "{}").unwrap();
    drop(host.create());
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

/// A folder and everything below it.
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
    let host = host();
    // At least two of seventeen ids begin with the same digit.
    let apps: Vec<App> = (0..17).map(|_| host.create()).collect();
    let mut seen = BTreeSet::new();
    let digit = |app: &App| app.record.id[..1].to_owned();
    let twice = apps.iter().find(|app| !seen.insert(digit(app))).map(digit).unwrap();
    assert!(matches!(host.apps.find(&twice), Err(AppsError::Ambiguous(..))));
}

#[test]
fn apps_created_at_once_get_names_of_their_own() {
    let host = host();
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| host.create());
        }
    });
    let names: BTreeSet<String> =
        host.apps.list().unwrap().into_iter().map(|app| app.record.name).collect();
    let expected = (1..=16).map(|n| if n == 1 { "nginx".into() } else { format!("nginx-{n}") });
    assert_eq!(names, expected.collect());
}

#[test]
fn a_request_that_makes_no_sense_is_named_and_leaves_nothing() {
    let host = host();
    type Change = fn(&mut RunRequest);
    type Expected = fn(&AppsError) -> bool;
    let wrong: [(Change, Expected); 5] = [
        (
            |request| request.entrypoint = Some(vec![String::new()]),
            |error| matches!(error, AppsError::Resolve(ResolveError::NoCommand(_))),
        ),
        (
            |request| request.shape.memory_mib = Some(1),
            |error| matches!(error, AppsError::Resolve(ResolveError::Memory { memory_mib: 1 })),
        ),
        (
            |request| request.name = Some("no good".into()),
            |error| matches!(error, AppsError::Name(NameError::Invalid { .. })),
        ),
        (
            |request| request.image.disk = "/nonexistent/disk.erofs".into(),
            |error| matches!(error, AppsError::Image(_)),
        ),
        (
            |request| (request.writable, request.storage_mib) = (WritableChoice::Disk, Some(1)),
            |error| matches!(error, AppsError::Writable(WritableError::Size(1))),
        ),
    ];
    for (number, (change, is_expected)) in wrong.into_iter().enumerate() {
        let mut request = host.request();
        change(&mut request);
        let error = create(&host.apps, &request).unwrap_err();
        assert!(is_expected(&error), "{number}: {error}");
        assert!(host.leftovers().is_empty(), "{number}: {:?}", host.leftovers());
    }
}

#[test]
fn a_taken_name_is_refused_and_free_again_after_removal() {
    let host = host();
    let launch = RunRequest { name: Some("web".into()), ..host.request() };
    let app = create(&host.apps, &launch).unwrap();
    assert!(matches!(create(&host.apps, &launch), Err(AppsError::Name(NameError::Taken(_)))));
    remove(&host.apps, &app, false).unwrap();
    assert!(host.leftovers().is_empty(), "{:?}", host.leftovers());
    create(&host.apps, &launch).unwrap();
}

#[test]
fn the_disk_outlives_its_image() {
    let host = host();
    let app = host.create();
    fs::remove_file(host.root.path().join("disk.erofs")).unwrap();
    let disk = host.apps.folder(&app.record.id).file(folder::ROOT_DISK);
    assert_eq!(fs::read(disk).unwrap(), b"disk");
}

#[test]
fn a_start_without_xen_says_so_and_the_app_can_be_removed() {
    if Path::new("/dev/xen/privcmd").exists() {
        eprintln!("skipped: this is a dom0");
        return;
    }
    let host = host();
    let app = host.create();
    let error = start(&host.apps, &app).unwrap_err().to_string();
    assert!(error.contains("/dev/xen/privcmd") && error.contains("not a Xen dom0"), "{error}");
    assert_eq!(host.apps.find("nginx").unwrap().state.phase(), Phase::Created);
    remove(&host.apps, &app, true).unwrap();
    assert!(host.leftovers().is_empty(), "{:?}", host.leftovers());
}

#[test]
fn an_app_that_someone_is_in_charge_of_is_not_removed() {
    let host = host();
    drop(host.create());
    let app = host.apps.find("nginx").unwrap();
    let lock = host.apps.folder(&app.record.id).try_lock().unwrap();
    assert!(matches!(remove(&host.apps, &app, false), Err(AppsError::Running(_))));
    drop(lock);
    remove(&host.apps, &app, false).unwrap();
}

#[test]
fn an_app_made_only_in_part_is_cleared_away_unless_its_maker_lives() {
    let host = host();
    let folder = host.apps.folder("0123456789ab");
    let lock = folder.make().unwrap();
    assert_eq!(repair(&host.apps).unwrap(), []);
    assert!(folder.path().exists());
    drop(lock);
    let repairs = repair(&host.apps).unwrap();
    assert!(repairs[0].to_string().contains("0123456789ab"), "{repairs:?}");
    assert!(host.leftovers().is_empty(), "{:?}", host.leftovers());
    assert_eq!(repair(&host.apps).unwrap(), []);
}

#[test]
fn an_app_whose_remover_was_killed_before_its_name_was_free_is_removed_with_its_name() {
    let host = host();
    let app = host.create();
    host.apps.folder(&app.record.id).remove_record().unwrap();
    drop(app);
    assert_eq!(repair(&host.apps).unwrap().len(), 1);
    assert_eq!(host.leftovers(), Vec::<PathBuf>::new());
}

#[test]
fn a_created_app_is_left_alone_by_repairs() {
    let host = host();
    drop(host.create());
    assert_eq!(repair(&host.apps).unwrap(), []);
    host.apps.find("nginx").unwrap();
}

#[test]
fn an_address_of_an_app_that_is_gone_is_given_back() {
    let host = host();
    host.apps.network.lease("ffffffffffff", None, None).unwrap();
    let repairs = repair(&host.apps).unwrap();
    assert!(repairs[0].to_string().contains("ffffffffffff"), "{repairs:?}");
    assert!(host.apps.network.leases().unwrap().is_empty());
}

#[test]
fn the_address_of_a_domain_that_waits_is_kept_by_repairs_until_the_app_that_takes_it_has_a_record()
{
    let host = host();
    let pooled = Folder::new(host.apps.pool_folder().join("0123456789ab"));
    fs::create_dir_all(host.apps.pool_folder()).unwrap();
    let _lock = pooled.make().unwrap();
    host.apps.network.lease(pooled.id(), None, None).unwrap();
    assert_eq!(repair(&host.apps).unwrap(), []);
    let taken = host.apps.folder(pooled.id());
    fs::rename(pooled.path(), taken.path()).unwrap();
    assert_eq!(repair(&host.apps).unwrap(), []);
    assert_eq!(host.apps.network.leases().unwrap().len(), 1);
}

#[test]
fn a_furnished_domain_fits_apps_of_the_usual_network_and_layer_only() {
    let host = host();
    let Record { shape: what, .. } = host.create().record;
    let now = PooledDomain {
        shape: what.clone(),
        image: None,
        furnished: true,
        address: None,
        created_unix_ms: u64::MAX / 2,
        domid: 1,
    };
    // Kernel and ramdisk are compared too.
    let (kernel, ramdisk) = (host.root.path().join("vmlinux"), host.root.path().join("initrd"));
    for path in [&kernel, &ramdisk] {
        fs::write(path, "").unwrap();
    }
    let what = toolstack::Shape { kernel, ramdisk, ..what };
    let pooled = PooledDomain { shape: what.clone(), ..now };
    let fits = |launch: &RunRequest, pooled: &PooledDomain| {
        fits(pooled, &what, launch, host.apps.settings())
    };
    let usual = RunRequest { writable: WritableChoice::Disk, ..host.request() };
    let none = RunRequest { network: net::NetworkRequest::None, ..usual.clone() };
    let ip = RunRequest { ip: Some("10.107.0.9".into()), ..usual.clone() };
    let mac = RunRequest { mac: Some(contract::Mac([0, 0x16, 0x3e, 1, 2, 3])), ..usual.clone() };
    let size = host.apps.settings().storage_mib;
    let same_size = RunRequest { storage_mib: Some(size), ..usual.clone() };
    let larger = RunRequest { storage_mib: Some(size + 1), ..usual.clone() };
    let memory = RunRequest { writable: WritableChoice::Memory, ..usual.clone() };
    let nothing = RunRequest { writable: WritableChoice::Nothing, ..usual.clone() };
    for usual in [usual, same_size] {
        assert!(fits(&usual, &pooled), "{usual:?}");
    }
    let without = PooledDomain { furnished: false, ..pooled.clone() };
    for other in [none, ip, mac, larger, memory, nothing] {
        assert!(!fits(&other, &pooled), "{other:?}");
        assert!(fits(&other, &without), "{other:?}");
    }
}

#[test]
fn the_log_is_followed_through_rotation_to_the_end() {
    let host = host();
    let app = host.create();
    let folder = host.apps.folder(&app.record.id);
    let lock = folder.try_lock().unwrap().unwrap();
    let mut log = Log::open(&folder, 64).unwrap();
    log.write(Stream::Stdout, b"before ").unwrap();
    let mut follow = follow(&host.apps, &app, LogFilter::default()).unwrap();
    let writer = std::thread::spawn(move || {
        for part in ["one ", "two ", "three ", "four"] {
            std::thread::sleep(Duration::from_millis(20));
            log.write(Stream::Stdout, part.as_bytes()).unwrap();
        }
        lock.leave(&Outcome::with_code(7)).unwrap();
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
    assert_eq!(outcome.code(), 7);
}

#[test]
fn an_app_that_never_ran_has_no_output_and_ends_at_once() {
    let host = host();
    drop(host.create());
    let app = host.apps.find("nginx").unwrap();
    let mut follow = follow(&host.apps, &app, LogFilter::default()).unwrap();
    assert!(matches!(follow.next(Duration::ZERO).unwrap(), Followed::Ended(_)));
}

#[test]
fn an_image_is_spared_by_stopped_apps_that_have_its_disk_for_themselves() {
    let host = host();
    let app = host.create();
    assert!(host.apps.can_spare_image(&app));
    let mut running = host.apps.find("nginx").unwrap();
    running.state = running.state.running(DomId(1), None, 1);
    assert!(!host.apps.can_spare_image(&running));
    // As if apps and images were on two file systems.
    let disk = host.apps.folder(&app.record.id).file(folder::ROOT_DISK);
    fs::remove_file(&disk).unwrap();
    std::os::unix::fs::symlink(host.root.path().join("disk.erofs"), &disk).unwrap();
    assert!(!host.apps.can_spare_image(&app));
}
