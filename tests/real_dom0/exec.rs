//! Processes beside an app, and its own input: exec, run -i -t, attach.

use tests::{Dom0, Output};

const SLEEP: [&str; 4] =
    ["python", "sh", "-c", "trap 'exit 0' TERM; echo up; while :; do sleep 0.2; done"];
const KINDS: [[&str; 4]; 3] = [
    ["--toolstack", "native", "--type", "pv"],
    ["--toolstack", "native", "--type", "pvh"],
    ["--toolstack", "xl", "--type", "pv"],
];

fn exec(dom0: &Dom0, args: &[&str]) -> Output {
    dom0.launch(&[&["exec"], args].concat())
}

/// A Python program in dom0 that runs a command on a terminal of its own: `t.expect(text)`,
/// `t.send(text)`, `t.resize(rows, columns)`, `t.end()`.
const ON_A_TERMINAL: &str = r#"
import fcntl, os, pty, select, struct, sys, termios, time
class T:
    def __init__(self, *argv):
        self.seen = b''
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvp(argv[0], argv)
    def resize(self, rows, columns):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack('HHHH', rows, columns, 0, 0))
    def send(self, text):
        os.write(self.fd, text.encode())
    def read(self, until):
        if not select.select([self.fd], [], [], max(0, until - time.time()))[0]:
            return False
        try:
            more = os.read(self.fd, 65536)
        except OSError:
            return False
        self.seen += more
        return bool(more)
    def expect(self, text):
        until = time.time() + 120
        while text.encode() not in self.seen:
            if not self.read(until):
                sys.exit('no %r in %r' % (text, self.seen))
        self.seen = self.seen.split(text.encode(), 1)[1]
    def end(self):
        until = time.time() + 120
        while self.read(until):
            pass
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
"#;

fn on_a_terminal(dom0: &Dom0, script: &str) -> Output {
    dom0.run(&["python3", "-c", &format!("{ON_A_TERMINAL}\n{script}")])
}

#[test]
fn a_process_beside_the_app_has_its_own_streams_and_exit_code_on_every_kind_of_domain() {
    let dom0 = Dom0::shared();
    for kind in KINDS {
        let _app = dom0.start("beside", &[&kind[..], &SLEEP].concat());
        let output = exec(dom0, &["beside", "sh", "-c", "echo out; echo err >&2; exit 42"]);
        assert_eq!(output.code, 42, "{kind:?}: {output:?}");
        assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("out\n", "err\n"));
        assert_eq!(exec(dom0, &["beside", "true"]).expect_success().stdout, "");
    }
}

#[test]
fn exit_codes_are_dockers() {
    let dom0 = Dom0::shared();
    let _app = dom0.start("codes", &SLEEP);
    exec(dom0, &["codes", "nosuch"]).expect_failure(127, &["nosuch", "not found in PATH"]);
    exec(dom0, &["codes", "/no/such"]).expect_failure(127, &["/no/such"]);
    exec(dom0, &["codes", "/etc/passwd"]).expect_failure(126, &["/etc/passwd"]);
    exec(dom0, &["-w", "/nowhere", "codes", "true"]).expect_failure(127, &["/nowhere"]);
    exec(dom0, &["-u", "nobody-here", "codes", "true"]).expect_failure(125, &["nobody-here"]);
    assert_eq!(exec(dom0, &["codes", "sh", "-c", "kill -9 $$"]).code, 137);
}

#[test]
fn user_folder_and_environment_are_the_apps_unless_said_otherwise() {
    let dom0 = Dom0::shared();
    let flags = ["-u", "daemon", "-w", "/usr", "-e", "A=app", "-e", "B=app"];
    let _app = dom0.start("asked-exec", &[&flags[..], &SLEEP].concat());
    let script = "echo $(id -un):$(pwd):$A:$B:$HOME";
    let output = exec(dom0, &["asked-exec", "sh", "-c", script]).expect_success();
    assert_eq!(output.stdout, "daemon:/usr:app:app:/usr/sbin\n");
    let flags = ["-u", "root", "-w", "/etc", "-e", "B=exec"];
    let output = exec(dom0, &[&flags[..], &["asked-exec", "sh", "-c", script]].concat());
    assert_eq!(output.expect_success().stdout, "root:/etc:app:exec:/root\n");
}

#[test]
fn a_megabyte_goes_through_a_process_and_back() {
    let dom0 = Dom0::shared();
    let _app = dom0.start("pipe", &SLEEP);
    let script = "mkdir -p /tmp/pipe && cd /tmp/pipe && \
        head -c 1048576 /dev/urandom > in && launch exec -i pipe cat < in > out && cmp in out && \
        launch exec -i pipe sha256sum < in | cut -c1-64 && sha256sum in | cut -c1-64";
    let hashes = dom0.sh(script).expect_success().stdout;
    let (theirs, ours) = hashes.trim().split_once('\n').unwrap();
    assert_eq!(theirs, ours);
    // Without -i there is no input, and the process does not wait for any.
    assert_eq!(dom0.sh("echo no | launch exec pipe cat").expect_success().stdout, "");
    // A process that takes no input does not keep its end from coming through.
    let output = dom0.sh("head -c 1000000 /dev/zero | launch exec -i pipe sh -c 'exit 3'");
    assert_eq!(output.code, 3, "{output:?}");
}

#[test]
fn a_process_that_floods_comes_through_whole_and_one_whose_reader_stops_is_left_in_peace() {
    let dom0 = Dom0::shared();
    let _app = dom0.start("flood", &SLEEP);
    let script = "launch exec flood head -c 20000000 /dev/zero | wc -c";
    assert_eq!(dom0.sh(script).expect_success().stdout.trim(), "20000000");
    // The reader leaves after a few bytes; the next session works as if nothing had been.
    let _ = dom0.sh("launch exec flood yes | head -c 100 > /dev/null");
    assert_eq!(exec(dom0, &["flood", "echo", "fine"]).expect_success().stdout, "fine\n");
}

#[test]
fn many_processes_run_at_once_and_one_after_the_other_and_nothing_is_left() {
    let dom0 = Dom0::shared();
    let _app = dom0.start("many", &SLEEP);
    exec(dom0, &["many", "true"]).expect_success();
    // Of the whole guest: open files, counted in batches, and threads.
    let count = "set -- $(cat /proc/sys/fs/file-nr /proc/loadavg); echo $(($1 + ${7#*/}))";
    let before = exec(dom0, &["many", "sh", "-c", count]);
    let script =
        "for i in 1 2 3 4 5 6 7 8; do launch exec many sh -c \"sleep 1; echo $i\" & done; wait";
    let mut lines: Vec<String> =
        dom0.sh(script).expect_success().stdout.lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines.concat(), "12345678");
    dom0.sh("for i in $(seq 100); do launch exec many true || exit 1; done").expect_success();
    let after = exec(dom0, &["many", "sh", "-c", count]);
    let number = |output: Output| output.stdout.trim().parse::<u32>().unwrap();
    // One vchan without a client may be there beside the one in use.
    assert!(number(after) <= number(before) + 90, "descriptors or threads are left in init");
    let zombies = exec(dom0, &["many", "sh", "-c", "cat /proc/[0-9]*/stat | grep -c ' Z '; true"]);
    assert_eq!(zombies.stdout.trim(), "0");
}

#[test]
fn a_terminal_has_the_size_of_this_one_and_follows_it() {
    let dom0 = Dom0::shared();
    let _app = dom0.start("tty", &SLEEP);
    let script = "t = T('sh', '-c', 'stty rows 31 cols 101; exec launch exec -it tty sh')\n\
        t.send('stty size\\n'); t.expect('31 101')\n\
        t.resize(40, 120); time.sleep(1); t.send('stty size\\n'); t.expect('40 120')\n\
        t.send('tty; echo TERM=$TERM\\n'); t.expect('/dev/pts/'); t.expect('TERM=xterm')\n\
        t.send('sleep 1000\\n'); time.sleep(1); t.send('\\x03'); t.send('echo after\\n'); t.expect('after\\r\\n')\n\
        t.send('exit 7\\n'); sys.exit(t.end())";
    let output = on_a_terminal(dom0, script);
    assert_eq!(output.code, 7, "{output:?}");
}

#[test]
fn a_terminal_where_there_is_none_is_told_in_one_line() {
    let dom0 = Dom0::shared();
    let _app = dom0.start("no-tty", &SLEEP);
    exec(dom0, &["-it", "no-tty", "sh"]).expect_failure(1, &["terminal", "leave out -t"]);
    dom0.launch(&["run", "-it", "python"]).expect_failure(125, &["terminal", "leave out -t"]);
}

#[test]
fn an_app_that_is_not_there_or_does_not_run_or_does_not_answer_is_named() {
    let dom0 = Dom0::shared();
    exec(dom0, &["nosuch-app", "true"]).expect_failure(1, &["nosuch-app"]);
    let _app = dom0.start("silent", &SLEEP);
    exec(dom0, &["silent", "true"]).expect_success();
    dom0.sh("xl pause silent").expect_success();
    exec(dom0, &["silent", "true"]).expect_failure(1, &["silent", "did not answer", "launch stop"]);
    dom0.sh("xl unpause silent").expect_success();
    exec(dom0, &["silent", "true"]).expect_success();
    dom0.launch(&["stop", "silent"]).expect_success();
    exec(dom0, &["silent", "true"]).expect_failure(1, &["silent", "does not run"]);
}

#[test]
fn an_app_takes_this_commands_input_to_its_end() {
    let dom0 = Dom0::shared();
    let script = "seq 1 20000 | launch run -i --rm --name input python sh -c 'sha256sum; exit 5'; echo code $?; \
        seq 1 20000 | sha256sum";
    let output = dom0.sh(script).expect_success().stdout;
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!((lines.len(), lines[1]), (3, "code 5"), "{output}");
    assert_eq!(lines[0], lines[2]);
}

#[test]
fn python_is_used_on_a_terminal_left_and_taken_up_again() {
    let dom0 = Dom0::shared();
    let _app = dom0.app("snake");
    let script = "t = T('launch', 'run', '-it', '--rm', '--name', 'snake', 'python')\n\
        t.expect('>>> '); t.send('6*7\\r'); t.expect('42'); t.expect('>>> ')\n\
        t.send('while True: pass\\r\\r'); time.sleep(1); t.send('\\x03'); t.expect('KeyboardInterrupt')\n\
        t.send('kept = 11\\r\\x10\\x11')\n\
        if t.end() != 0: sys.exit('detaching failed')\n\
        t = T('launch', 'attach', 'snake')\n\
        time.sleep(1); t.send('kept*3\\r'); t.expect('33')\n\
        t.send('exit(9)\\r'); sys.exit(t.end())";
    let output = on_a_terminal(dom0, script);
    assert_eq!(output.code, 9, "{output:?}");
}
