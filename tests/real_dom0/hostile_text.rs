//! What an image, a registry or a guest says reaches no terminal as it is, whichever verb shows it.
//!
//! `launch logs` and the output of an app are not meant: these are the app's own bytes, as with Docker.

use tests::{Dom0, Output};

/// Sets a terminal's title, clears its screen, forges a line, and writes backwards.
const WORDS: &str = r"\x1b]0;title\x07\x1b[2J\nlaunch: forged\r\u202e\x9bx\x7f";

/// Makes docker-archives in dom0, one for each thing that an image can say.
const MAKE: &str = r#"
import hashlib, io, json, sys, tarfile
WORDS = "WORDS_HERE"
def tar(files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode='w') as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()
def make(name, config={}, files={'file ' + WORDS: b''}, **about):
    layer = tar(files)
    diff_id = 'sha256:' + hashlib.sha256(layer).hexdigest()
    about = {'architecture': 'amd64', 'os': 'linux', 'created': WORDS, 'config': config,
        'rootfs': {'type': 'layers', 'diff_ids': [diff_id]}} | about
    manifest = [{'Config': 'config.json', 'RepoTags': ['hostile/%s:1' % name], 'Layers': ['layer.tar']}]
    with open('/tmp/hostile-%s.tar' % name, 'wb') as out:
        out.write(tar({'manifest.json': json.dumps(manifest).encode(),
            'config.json': json.dumps(about).encode(), 'layer.tar': layer}))
said = {'Labels': {WORDS: WORDS, 'other': WORDS}, 'Env': ['A=' + WORDS, WORDS + '=B'], 'Cmd': ['/' + WORDS, WORDS],
    'Volumes': {WORDS: {}}, 'ExposedPorts': {WORDS: {}}, 'WorkingDir': '/' + WORDS}
make('words', said)
make('path', {'Cmd': [WORDS]})
make('user', {'Cmd': ['/x'], 'User': WORDS})
make('signal', {'Cmd': ['/x'], 'StopSignal': WORDS})
make('memory', {'Cmd': ['/x'], 'Labels': {'launch.memory': WORDS}})
make('variable', {'Cmd': ['/x'], 'Env': ['=' + WORDS]})
make('platform', architecture=WORDS)
make('entry', {'Cmd': ['/x']}, files={WORDS + 'x' * 300: b''})
make('diff', rootfs={'type': 'layers', 'diff_ids': [WORDS]})
make('type', {'Cmd': {WORDS: WORDS}})
make('text', {'Cmd': WORDS})
"#;

/// A registry that answers each request with an error in its own words, on port 5999 of dom0.
const REGISTRY: &str = r#"
import http.server, json
WORDS = "WORDS_HERE"
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        code = {'denied': 403, 'absent': 404, 'odd': 200}.get(self.path.split('/')[2], 500)
        errors = {'errors': [{'code': WORDS, 'message': WORDS}]}
        body = json.dumps({'schemaVersion': 2, 'mediaType': WORDS} if code == 200 else errors).encode()
        self.send_response(code)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    do_HEAD = do_GET
    def log_message(self, *args): pass
http.server.HTTPServer(('127.0.0.1', 5999), Handler).serve_forever()
"#;

/// Runs as root in a stock image: reports an end in its own words, in `init`'s place.
const REPORT: &str = r#"
import json, os, struct, time
WORDS = "WORDS_HERE"
NODE = b'data/launch/report\0'
with open('/proc/misc') as misc:
    minor = next(int(line.split()[0]) for line in misc if line.split()[1] == 'xen/xenbus')
os.mknod('/tmp/xenbus', 0o600 | 0o020000, os.makedev(10, minor))
xenbus = os.open('/tmp/xenbus', os.O_RDWR)
def ask(kind, payload):
    os.write(xenbus, struct.pack('<IIII', kind, 0, 0, len(payload)) + payload)
    kind, _, _, size = struct.unpack('<IIII', os.read(xenbus, 16))
    return kind, os.read(xenbus, size)
READ, WRITE = 2, 11
# `init` writes its own once the app has begun.
while (answer := ask(READ, NODE))[0] != READ: time.sleep(0.1)
time.sleep(1)
report = json.loads(ask(READ, NODE)[1])
report['exit'] = {'not-started': {'code': 99, 'message': WORDS}}
report['marks'] += [{'step': WORDS, 'at_us': 1}]
print(ask(WRITE, NODE + json.dumps(report).encode()), flush=True)
time.sleep(1000)
"#;

fn with_words(script: &str) -> String {
    script.replace("WORDS_HERE", WORDS)
}

/// Whether a terminal would do something else than show it, at the end of a line go on with the next.
fn is_obeyed(c: char) -> bool {
    (c.is_control() && c != '\n') || ('\u{202a}'..='\u{202e}').contains(&c)
}

/// Checks what a command printed; a forged line is one that begins with our name.
fn check(what: &str, output: &Output) {
    for (stream, text) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
        assert!(!text.chars().any(is_obeyed), "{what}: {stream} has {text:?}");
        assert!(!text.contains("\nlaunch: forged"), "{what}: {stream} has a forged line: {text:?}");
    }
}

fn launch(args: &[&str]) -> Output {
    let output = Dom0::shared().launch(args);
    check(&format!("launch {args:?}"), &output);
    output
}

/// All fields of `launch ps` and `launch images` that an image has a say in, and the rest of them.
const OF_APPS: &str =
    "{{.ID}} {{.Names}} {{.Image}} {{.Command}} {{.Labels}} {{.Status}} {{.Networks}} {{.Ports}}";
const OF_IMAGES: &str = "{{.Name}} {{.Repository}} {{.Tag}} {{.ID}} {{.Digest}} {{.Size}}";
const OF_ONE: [&str; 8] = [
    "{{.Config}}",
    "{{.Config.Labels}} {{.Config.Env}}",
    "{{.Config.Cmd}} {{.Config.WorkingDir}} {{.Config.User}}",
    "{{join .Config.Env \" \"}} {{index .Config.Env 0 | upper}}",
    "{{range .Config.Labels}}{{.}}{{end}}",
    "{{json .Config}} {{json .Config.Labels}}",
    "{{index .Config.Labels \"other\" | title}}",
    "json",
];

#[test]
fn what_an_image_says_about_itself_drives_no_terminal() {
    let dom0 = Dom0::shared();
    let before = dom0.traces();
    dom0.write("/tmp/hostile.py", &with_words(MAKE));
    dom0.sh("python3 /tmp/hostile.py").expect_success();
    let image = "docker-archive:/tmp/hostile-words.tar";
    launch(&["pull", image]).expect_success();
    for args in [
        &["images"][..],
        &["images", "--format", OF_IMAGES],
        &["images", "--format", "json"],
        &["image", "ls"],
        &["inspect", image],
        &["image", "inspect", image],
        &["pool"],
    ] {
        launch(args).expect_success();
    }
    launch(&["create", "--name", "said", "-l", &format!("mine={}", "\u{1b}[2J"), image])
        .expect_success();
    for args in [
        &["ps", "-a"][..],
        &["ps", "-a", "--format", OF_APPS],
        &["ps", "-a", "--format", &format!("table {OF_APPS}")],
        &["ps", "-a", "--format", "{{json .}} {{json .Labels}}"],
        &["ps", "-a", "--format", "json"],
        &["ps", "-a", "--format", "table {{.Command}}\\t{{.Labels}}"],
        &["inspect", "said"],
        &["port", "said"],
        &["stats", "-a", "--no-stream"],
        &["rename", "said", "told"],
        &["update", "--restart", "no", "told"],
    ] {
        launch(args).expect_success();
    }
    for template in OF_ONE {
        for of in ["told", image] {
            let shown = launch(&["inspect", "--format", template, of]).expect_success();
            assert!(shown.stdout.contains("2J"), "{template}: {shown:?}");
        }
    }
    // What was said is still there: machines read JSON.
    let labels = launch(&["inspect", "--format", "{{json .Config.Labels}}", "told"]).stdout;
    let labels: serde_json::Value = serde_json::from_str(&labels).unwrap();
    assert!(labels["other"].as_str().unwrap().starts_with("\u{1b}]0;title\u{7}"), "{labels}");
    // Its command is not there, which its guest tells in the command's own words.
    for args in [&["start", "told"][..], &["wait", "told"]] {
        let _ = launch(args);
    }
    let _ = dom0.eventually(60, "launch ps -a --filter name=told | grep 'Exited (12'");
    launch(&["inspect", "--format", "{{.State.Error}}", "told"]).expect_success();
    launch(&["ps", "-a"]).expect_success();
    launch(&["rm", "told"]).expect_success();
    let foreground = launch(&["run", "--rm", "--time", image]);
    assert!((125..=127).contains(&foreground.code), "{foreground:?}");
    let config = launch(&["config", "--name", "told", image]);
    assert_eq!(config.code, 0, "{config:?}");
    launch(&["rm", "-f", "told"]).expect_success();
    launch(&["rmi", image]).expect_success();
    launch(&["image", "prune", "-f"]).expect_success();
    dom0.expect_traces(&before);
}

#[test]
fn an_error_about_an_image_is_one_line_whatever_the_image_says() {
    let dom0 = Dom0::shared();
    let before = dom0.traces();
    dom0.write("/tmp/hostile.py", &with_words(MAKE));
    dom0.sh("python3 /tmp/hostile.py").expect_success();
    for name in ["signal", "memory", "variable", "platform", "entry", "diff", "type"] {
        let output = launch(&["run", "--rm", &format!("docker-archive:/tmp/hostile-{name}.tar")]);
        output.expect_failure(125, &[]);
    }
    for name in ["path", "text", "user"] {
        let output = launch(&["run", "--rm", &format!("docker-archive:/tmp/hostile-{name}.tar")]);
        assert!((125..=127).contains(&output.code), "{output:?}");
    }
    dom0.sh("launch rmi $(launch images -q | sort -u) 2>/dev/null; true").expect_success();
    dom0.expect_traces(&before);
}

#[test]
fn an_error_of_a_registry_is_one_line_whatever_the_registry_says() {
    let dom0 = Dom0::shared();
    dom0.write("/tmp/registry.py", &with_words(REGISTRY));
    dom0.sh("python3 /tmp/registry.py >/dev/null 2>&1 & echo $! > /tmp/registry.pid")
        .expect_success();
    let _ = dom0.eventually(60, "curl -s http://127.0.0.1:5999/v2/odd/x");
    for name in ["denied", "absent", "odd"] {
        let output = launch(&["pull", &format!("127.0.0.1:5999/{name}/image:1")]);
        output.expect_failure(1, &["127.0.0.1:5999"]);
    }
    dom0.sh("kill $(cat /tmp/registry.pid)").expect_success();
}

#[test]
fn what_a_guest_reports_drives_no_terminal() {
    let dom0 = Dom0::shared();
    let before = dom0.traces();
    let script = with_words(REPORT);
    let foreground =
        launch(&["run", "--name", "reports", "--time", "python", "python3", "-c", &script]);
    assert_eq!(foreground.code, 99, "{foreground:?}");
    assert!(foreground.stderr.contains("launch: \u{fffd}]0;title\u{fffd}"), "{foreground:?}");
    for args in [
        &["ps", "-a"][..],
        &["ps", "-a", "--format", OF_APPS],
        &["inspect", "reports"],
        &["inspect", "--format", "{{.State.Error}} {{.state}}", "reports"],
        &["inspect", "--format", "{{json .State}}", "reports"],
        &["wait", "reports"],
        &["rm", "reports"],
    ] {
        launch(args).expect_success();
    }
    dom0.expect_traces(&before);
}
