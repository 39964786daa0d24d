//! Hostile images and registries: what they ask for, and what reads them.

use tests::Dom0;

/// Makes `/tmp/greedy.tar` in dom0: the image `hello` as a docker-archive that calls itself nginx
/// and asks for much memory and for ever to stop.
const GREEDY: &str = r#"
import hashlib, io, json, re, tarfile, urllib.request
mirror = re.search(r'http://[\w.:]+', open('/etc/launch/config.toml').read()).group()
def get(path, accept='*/*'):
    request = urllib.request.Request(mirror + '/v2/library/hello/' + path, headers={'Accept': accept})
    return urllib.request.urlopen(request).read()
manifest = json.loads(get('manifests/latest', 'application/vnd.oci.image.manifest.v1+json'))
config = json.loads(get('blobs/' + manifest['config']['digest']))
config['config']['Labels'] = {'launch.memory': '2000m'}
config['config']['StopTimeout'] = 1000000000
config = json.dumps(config).encode()
with tarfile.open('/tmp/greedy.tar', 'w') as tar:
    def put(name, data):
        info = tarfile.TarInfo(name)
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
    layers = []
    for layer in manifest['layers']:
        layers.append(layer['digest'][7:] + '/layer.tar')
        put(layers[-1], get('blobs/' + layer['digest']))
    put('config.json', config)
    image = {'Config': 'config.json', 'RepoTags': ['nginx:latest'], 'Layers': layers}
    put('manifest.json', json.dumps([image]).encode())
print('sha256:' + hashlib.sha256(config).hexdigest())
"#;

/// Runs its arguments, behind the first, on a kernel that seems not to have that system call.
const WITHOUT_CALL: &str = r#"
import ctypes, os, struct, sys
ops = [(0x20, 0, 0, 0), (0x15, 0, 1, int(sys.argv[1])), (6, 0, 0, 0x50026), (6, 0, 0, 0x7fff0000)]
code = ctypes.create_string_buffer(b''.join(struct.pack('<HBBI', *op) for op in ops))
class Filter(ctypes.Structure):
    _fields_ = [('length', ctypes.c_ushort), ('code', ctypes.c_void_p)]
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
filter = Filter(len(ops), ctypes.cast(code, ctypes.c_void_p))
assert libc.prctl(22, 2, ctypes.byref(filter), 0, 0) == 0, ctypes.get_errno()
os.execvp(sys.argv[2], sys.argv[2:])
"#;

fn digest_of(dom0: &Dom0, image: &str) -> String {
    let script =
        format!("launch image inspect {image} | jq -r '.[0] | .digest // .Digest // .Id // .ID'");
    dom0.sh(&script).expect_success().stdout
}

#[test]
fn an_images_wishes_are_bounded_and_told_and_it_takes_nobodys_name() {
    let dom0 = Dom0::shared();
    dom0.launch(&["pull", "nginx"]).expect_success();
    let nginx = digest_of(dom0, "nginx");
    dom0.run(&["python3", "-c", GREEDY]).expect_success();
    dom0.sh("sed '1i [domain]\\nmax_image_memory_mib = 48\\nmax_image_stop_timeout_s = 5' \
        /etc/launch/config.toml > /tmp/bounded.toml")
        .expect_success();
    let bounded =
        |arguments: &str| dom0.sh(&format!("LAUNCH_CONFIG=/tmp/bounded.toml launch {arguments}"));
    let started = bounded("run -d --name greedy docker-archive:/tmp/greedy.tar").expect_success();
    let lines: Vec<&str> = started.stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{started:?}");
    assert!(lines[0].contains("asks for 2000 MiB of memory and gets 48 MiB"), "{started:?}");
    assert!(lines[1].contains("asks for 1000000000 seconds to stop and gets 5"), "{started:?}");
    let seen = dom0.sh("xl list greedy | awk 'NR==2{print $3}'").stdout;
    assert!(seen.trim().parse::<u32>().is_ok_and(|mib| mib <= 48), "{seen}");
    let timeout = dom0.sh("launch inspect greedy | jq -r '.[0].Config.StopTimeout'").stdout;
    assert_eq!(timeout, "5\n");
    dom0.launch(&["rm", "-f", "greedy"]).expect_success();
    assert_eq!(digest_of(dom0, "nginx"), nginx, "an archive took the name nginx");

    // Who asks for it by name gets more.
    let asked =
        bounded("create --name greedy -m 64m --stop-timeout 7 docker-archive:/tmp/greedy.tar");
    assert_eq!(asked.expect_success().stderr, "");
    let timeout = dom0.sh("launch inspect greedy | jq -r '.[0].Config.StopTimeout'").stdout;
    assert_eq!(timeout, "7\n");
    dom0.launch(&["rm", "-f", "greedy"]).expect_success();

    // To load it is to ask for its names.
    let loaded = dom0.launch(&["pull", "docker-archive:/tmp/greedy.tar"]).expect_success();
    let told = format!(
        "launch: docker.io/library/nginx:latest is {} now, before {}",
        loaded.stdout.trim(),
        nginx.trim()
    );
    assert_eq!(loaded.stderr.trim(), told);
    dom0.launch(&["pull", "nginx"]).expect_success();
    dom0.launch(&["rmi", "docker-archive:/tmp/greedy.tar"]).expect_success();
}

#[test]
fn without_a_fence_nothing_is_fetched_unless_the_settings_say_so() {
    let dom0 = Dom0::shared();
    dom0.write("/tmp/without-call.py", WITHOUT_CALL);
    dom0.sh("mkdir -p /tmp/fence && echo x > /tmp/fence/x && tar -cf /tmp/fence.tar -C /tmp/fence . && \
        sed '1i [image]\\nallow_unsandboxed_fetch = true' /etc/launch/config.toml > /tmp/allowed.toml")
        .expect_success();
    // landlock_create_ruleset and seccomp, as on x86.
    for (call, fence) in [("444", "Landlock (files)"), ("317", "seccomp")] {
        let convert = format!(
            "python3 /tmp/without-call.py {call} \
             launch image convert rootfs:/tmp/fence.tar /tmp/fence.erofs"
        );
        let words = [&format!("this kernel lacks {fence}: "), "allow_unsandboxed_fetch"];
        dom0.sh(&convert).expect_failure(1, &words);
        assert_ne!(dom0.run(&["test", "-e", "/tmp/fence.erofs"]).code, 0, "it was converted");
        let allowed = dom0.sh(&format!("LAUNCH_CONFIG=/tmp/allowed.toml {convert}"));
        let told = format!("launch: fetching with an incomplete sandbox, which lacks {fence}: ");
        assert!(allowed.stderr.starts_with(&told), "{allowed:?}");
        assert_eq!(allowed.expect_success().stderr.lines().count(), 1);
        dom0.sh("rm /tmp/fence.erofs").expect_success();
    }
}

#[test]
fn what_reads_an_image_has_its_fences_in_dom0() {
    let dom0 = Dom0::shared();
    let script = "rm -f /tmp/fenced.pipe; mkfifo /tmp/fenced.pipe; exec 9<>/tmp/fenced.pipe; \
        launch image convert rootfs:/tmp/fenced.pipe /tmp/fenced.erofs & \
        until pid=$(pgrep -P $! -x fetch) && grep -q 'Seccomp_filters:.*1' /proc/$pid/status; do \
            kill -0 $! || exit; sleep 0.1; done; \
        grep -E '^(Uid|Groups|CapEff|CapPrm|NoNewPrivs|Seccomp):' /proc/$pid/status; \
        grep -E '^Max (data size|core)' /proc/$pid/limits; kill $pid; wait $!; true";
    let output = dom0.sh(script).expect_success();
    let words: Vec<Vec<&str>> =
        output.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    let none = "0".repeat(16);
    for line in [
        &["Uid:", "64321", "64321", "64321", "64321"][..],
        &["Groups:"],
        &["CapPrm:", &none],
        &["CapEff:", &none],
        &["NoNewPrivs:", "1"],
        &["Seccomp:", "2"],
        &["Max", "core", "file", "size", "0", "0", "bytes"],
        &["Max", "data", "size", "1073741824", "1073741824", "bytes"],
    ] {
        assert!(words.iter().any(|words| words == line), "no {line:?} in {output:?}");
    }
}

#[test]
fn a_small_archive_cannot_take_the_memory_of_dom0() {
    let dom0 = Dom0::shared();
    let script = "import io, tarfile\n\
        with tarfile.open('/tmp/deep.tar.gz', 'w:gz') as tar:\n\
        \x20for n in range(6000): tar.addfile(tarfile.TarInfo(str(n) + '/d' * 250 + '/f'), io.BytesIO())";
    dom0.run(&["python3", "-c", script]).expect_success();
    dom0.sh("sed '1i [image.limits]\\nmax_memory_bytes = 67108864' \
        /etc/launch/config.toml > /tmp/little.toml")
        .expect_success();
    let convert = "LAUNCH_CONFIG=/tmp/little.toml launch image convert rootfs:/tmp/deep.tar.gz /tmp/deep.erofs";
    dom0.sh(convert).expect_failure(1, &["too much memory", "raise max_memory_bytes"]);
    assert_ne!(dom0.run(&["test", "-e", "/tmp/deep.erofs"]).code, 0, "it was converted");
}
