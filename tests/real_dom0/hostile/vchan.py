#!/usr/bin/env python3
"""Takes the place of `init` in a guest and sends dom0 what an honest `init` never sends.

Runs as root in any app whose image has Python 3. It shares its own rings with dom0, writes their
numbers over those of `init` in xenstore, and serves one client of dom0's after the other:

    python3 vchan.py MODE[,MODE]... [ARGUMENT]...

With several modes each client gets the next one, and from the last on the same. Prints `serving`
and makes the file /serving when dom0 can connect; prints a line for each request and for each client that goes.
"""

import fcntl, json, mmap, os, select, struct, sys, time

FOLDER = 'data/launch/talk/0'
ALLOC_GREF, BIND_UNBOUND_PORT, NOTIFY = 0x184705, 0x44502, 0x44504
PAGE, LEFT_ORDER, RIGHT_ORDER = 4096, 15, 16
# Offsets in the shared page: the rings' indexes, and the bytes of both sides.
LEFT, RIGHT, ORDERS, CLIENT_LIVE, SERVER_LIVE, CLIENT_NOTIFY, SERVER_NOTIFY, GRANTS = \
    0, 8, 16, 20, 21, 22, 23, 24
GONE, LIVE, AWAITED = 0, 1, 2
# Frames of `contract::talk`.
HELLO, STDIN, STDIN_END, SIGNAL, RESIZE = range(1, 6)
STARTED, TAKEN, STDOUT, STDERR, EXITED, REFUSED, STATS, END = range(16, 24)


class Gone(Exception):
    """The client has closed the vchan."""


class Xenstore:
    """Writes nodes of this domain through the kernel's device."""

    WRITE = 11

    def __init__(self, path='/dev/xen/xenbus'):
        if not os.path.exists(path):
            with open('/proc/misc') as misc:
                minor = next(int(n) for n, name in map(str.split, misc) if name.endswith('xenbus'))
            os.mknod(path, 0o600 | 0o020000, os.makedev(10, minor))
        self.fd = os.open(path, os.O_RDWR)

    def write(self, path, value):
        payload = path.encode() + b'\0' + str(value).encode()
        os.write(self.fd, struct.pack('IIII', self.WRITE, 1, 0, len(payload)) + payload)
        kind, _, _, length = struct.unpack('IIII', os.read(self.fd, 16))
        answer = os.read(self.fd, length)
        if kind != self.WRITE:
            sys.exit('xenstore refuses %s: %r' % (path, answer))


def share(pages):
    """Pages that dom0 may map and write, and their grants."""
    fd = os.open('/dev/xen/gntalloc', os.O_RDWR)
    argument = bytearray(16 + 4 * pages)
    struct.pack_into('HHI', argument, 0, 0, 1, pages)
    fcntl.ioctl(fd, ALLOC_GREF, argument)
    index, = struct.unpack_from('Q', argument, 8)
    memory = mmap.mmap(fd, pages * PAGE, offset=index)
    return memory, struct.unpack_from('%dI' % pages, argument, 16)


class Vchan:
    """The server's end of a vchan."""

    def __init__(self):
        self.events = os.open('/dev/xen/evtchn', os.O_RDWR)
        self.port = fcntl.ioctl(self.events, BIND_UNBOUND_PORT, bytearray(4))
        self.page, (self.ring_ref,) = share(1)
        # A memoryview writes a number at once; struct.pack_into writes zeros first, and dom0 may see them.
        self.indexes = memoryview(self.page).cast('I')
        self.input, left = share((1 << LEFT_ORDER) // PAGE)
        self.output, right = share((1 << RIGHT_ORDER) // PAGE)
        struct.pack_into('%dI' % len(left + right), self.page, GRANTS, *(left + right))
        struct.pack_into('HH', self.page, ORDERS, LEFT_ORDER, RIGHT_ORDER)
        self.await_client()
        self.page[SERVER_LIVE] = LIVE

    def publish(self, store):
        store.write(FOLDER + '/event-channel', self.port)
        store.write(FOLDER + '/ring-ref', self.ring_ref)

    def load(self, at):
        return self.indexes[at // 4]

    def store(self, at, value):
        self.indexes[at // 4] = value & 0xffffffff

    def await_client(self):
        for at in (LEFT, LEFT + 4, RIGHT, RIGHT + 4):
            self.store(at, 0)
        self.page[CLIENT_NOTIFY] = 3
        self.page[CLIENT_LIVE] = AWAITED

    def notify(self):
        try:
            fcntl.ioctl(self.events, NOTIFY, struct.pack('I', self.port))
        except OSError:
            pass

    def wait(self, seconds=0.2):
        if select.select([self.events], [], [], seconds)[0]:
            os.write(self.events, os.read(self.events, 4))

    def wait_for_client(self):
        while self.page[CLIENT_LIVE] == AWAITED:
            self.wait(1)

    def wait_for_its_end(self):
        while self.page[CLIENT_LIVE] == LIVE:
            self.wait(1)

    def renew(self):
        self.await_client()
        self.notify()

    def read(self, count):
        """Exactly so many bytes."""
        read = b''
        while len(read) < count:
            at, ready = self.load(LEFT), (self.load(LEFT + 4) - self.load(LEFT)) & 0xffffffff
            if not ready:
                if self.page[CLIENT_LIVE] != LIVE:
                    raise Gone
                self.page[SERVER_NOTIFY] |= 1
                self.wait()
                continue
            begin = at % (1 << LEFT_ORDER)
            piece = self.input[begin:begin + min(ready, count - len(read), (1 << LEFT_ORDER) - begin)]
            read += piece
            self.store(LEFT, at + len(piece))
            self.notify()
        return read

    def write(self, data):
        """All of it, as soon as there is room."""
        sent = 0
        while sent < len(data):
            if self.page[CLIENT_LIVE] != LIVE:
                raise Gone
            at = self.load(RIGHT + 4)
            room = (1 << RIGHT_ORDER) - ((at - self.load(RIGHT)) & 0xffffffff)
            begin = at % (1 << RIGHT_ORDER)
            piece = data[sent:sent + min(room, (1 << RIGHT_ORDER) - begin)]
            if not piece:
                self.wait()
                continue
            self.output[begin:begin + len(piece)] = piece
            self.store(RIGHT + 4, at + len(piece))
            self.notify()
            sent += len(piece)

    def frame(self, kind, payload=b''):
        self.write(struct.pack('<I', len(payload) << 8 | kind) + payload)

    def read_frame(self):
        header, = struct.unpack('<I', self.read(4))
        return header & 0xff, self.read(header >> 8)

    def stdout(self, data):
        for at in range(0, len(data), 32768):
            self.frame(STDOUT, data[at:at + 32768])

    def stderr(self, data):
        self.frame(STDERR, data)

    def exit(self, code=0):
        self.frame(EXITED, json.dumps({'code': code}).encode())


# What `init` writes to the console when the app's output goes on over a vchan.
ELSEWHERE = '\x1b_launch3\x1b\\'


def for_ever(send):
    while True:
        send()


def hold(vchan):
    """Says nothing more, and does not go either."""
    vchan.wait_for_its_end()
    raise Gone


# What is sent after the client's first frame. Each takes the vchan, the client's request and the
# words that follow the mode.

def silent(vchan, _request):
    """Nothing at all."""
    hold(vchan)


def taken(vchan, _request):
    """One frame that says nothing, and then nothing at all."""
    vchan.frame(TAKEN, struct.pack('<I', 0))
    hold(vchan)


def taken_for_ever(vchan, _request):
    """Frames that say nothing, as fast as they are taken."""
    frames = struct.pack('<II', 4 << 8 | TAKEN, 0) * 4096
    for_ever(lambda: vchan.write(frames))


def taken_slowly(vchan, _request, seconds='0.5'):
    """A frame that says nothing, again and again."""
    def send():
        vchan.frame(TAKEN, struct.pack('<I', 0))
        time.sleep(float(seconds))
    for_ever(send)


def started(vchan, _request):
    """That it has begun, and then nothing at all."""
    vchan.frame(STARTED)
    hold(vchan)


def stdout_for_ever(vchan, _request, byte='120'):
    """Standard output without end; `byte` is its bytes' value."""
    vchan.frame(STARTED)
    for_ever(lambda: vchan.frame(STDOUT, bytes([int(byte)]) * 32768))


def empty_for_ever(vchan, _request):
    """Frames of standard output with nothing in them, as fast as they are taken."""
    vchan.frame(STARTED)
    for_ever(lambda: vchan.write(struct.pack('<I', STDOUT) * 8192))


def stderr_for_ever(vchan, _request):
    """Standard error without end, in lines."""
    vchan.frame(STARTED)
    for_ever(lambda: vchan.frame(STDERR, b'words without end\n' * 1800))


def escapes(vchan, _request):
    """Standard error that would drive a terminal, then a failure."""
    vchan.frame(STARTED)
    vchan.frame(STDERR, b'launch: \x1b]0;PWNED\x07\x1b[2Kgone\xff\n')
    vchan.exit(1)


def frame_too_large(vchan, _request):
    """The header of a frame of 16 MiB, and zeros."""
    vchan.write(struct.pack('<I', 0xffffff << 8 | STDOUT))
    for_ever(lambda: vchan.write(bytes(32768)))


def unknown_kind(vchan, _request):
    """A frame of a kind that there is none of."""
    vchan.frame(99, b'x')
    hold(vchan)


def noise(vchan, _request):
    """Bytes by chance."""
    for_ever(lambda: vchan.write(os.urandom(4096)))


def refused(vchan, _request, words='no\x1b[2J'):
    """A refusal with words that would drive a terminal."""
    vchan.frame(REFUSED, words.encode())
    hold(vchan)


def bad_index(vchan, _request):
    """An index that claims more bytes than the ring can hold."""
    vchan.store(RIGHT + 4, vchan.load(RIGHT) + (1 << RIGHT_ORDER) + 1)
    vchan.notify()
    hold(vchan)


def closes(vchan, _request):
    """The server's end closed in the middle."""
    vchan.frame(STARTED)
    vchan.page[SERVER_LIVE] = GONE
    vchan.notify()
    hold(vchan)


def stdout_file(vchan, _request, path, code='0'):
    """What is in a file as standard output, then an end with this exit code."""
    vchan.frame(STARTED)
    with open(path, 'rb') as file:
        vchan.stdout(file.read())
    vchan.exit(int(code))
    hold(vchan)


# What `launch cp APP:PATH` gets: the format of the crate `copy`.

COPY = b'launch copy 02\n'
C_FOLDER, C_FILE, C_LINK, C_DATA, C_END_OF_FILE, C_LEAVE, C_LEFT_OUT, C_END = range(1, 9)


def record(tag, name=b'', mode=0o755, length=None, size=0, target=b''):
    header = struct.pack('<BxHIIIIqIQ', tag, mode, 0, 0, len(name) if length is None else length,
                         len(target), 0, 0, size)
    return header + name + target


def small_file(name):
    return record(C_FILE, name, size=4) + record(C_DATA, length=4) + b'text' \
        + record(C_END_OF_FILE, size=4)


BEGUN = COPY + bytes([C_FOLDER]) + record(C_FOLDER)


def copy_files_for_ever(vchan, _request):
    """A folder of small files without end."""
    vchan.frame(STARTED)
    vchan.stdout(BEGUN)
    count = 0
    while True:
        vchan.stdout(b''.join(small_file(b'%d' % (count + each)) for each in range(200)))
        count += 200


def copy_file_for_ever(vchan, _request):
    """One file of 4 EiB."""
    vchan.frame(STARTED)
    vchan.stdout(COPY + bytes([C_FILE]) + record(C_FILE, size=1 << 62))
    at = 0
    while True:
        vchan.stdout(record(C_DATA, length=32768, size=at) + b'x' * 32768)
        at += 32768


def copy_folders_for_ever(vchan, _request):
    """Folders in folders without end."""
    vchan.frame(STARTED)
    vchan.stdout(BEGUN)
    for_ever(lambda: vchan.stdout(record(C_FOLDER, b'd') * 200))


def copy_then_silence(vchan, _request):
    """A folder with a file, and then nothing at all."""
    vchan.frame(STARTED)
    vchan.stdout(BEGUN + small_file(b'file'))
    hold(vchan)


def copy_cut(vchan, _request):
    """A folder that does not end, and an end as if all were well."""
    vchan.frame(STARTED)
    vchan.stdout(BEGUN + small_file(b'file'))
    vchan.exit(0)
    hold(vchan)


def copy_escapes(vchan, _request):
    """A folder in which an entry is left out whose name would drive a terminal."""
    vchan.frame(STARTED)
    vchan.stderr(b'\x1b[2Jwords')
    vchan.stdout(BEGUN + small_file(b'file') + record(C_LEFT_OUT, b'\x1b]0;PWNED\x07\x1b[2Kx', mode=0)
                 + record(C_LEAVE) + record(C_END))
    vchan.exit(0)
    hold(vchan)


def copy_whole_then_hold(vchan, _request):
    """A whole folder from a process that does not end."""
    vchan.frame(STARTED)
    vchan.stdout(BEGUN + small_file(b'file') + record(C_LEAVE) + record(C_END))
    hold(vchan)


def copy_outside(vchan, _request):
    """A folder with a link, and a file beyond that link."""
    vchan.frame(STARTED)
    vchan.stdout(BEGUN + record(C_LINK, b'l', target=b'/tmp') + record(C_FOLDER, b'l')
                 + small_file(b'outside') + record(C_LEAVE) * 2 + record(C_END))
    vchan.exit(0)
    hold(vchan)


def tar_long_name_for_ever(vchan, _request):
    """A tar, as cp had it once: the header of a long name of 2^60 bytes, and zeros."""
    vchan.frame(STARTED)
    header = bytearray(512)
    header[:13] = b'././@LongLink'
    header[100:108], header[108:116], header[116:124] = b'0000644\0', b'0000000\0', b'0000000\0'
    header[124:136] = b'\x80' + (1 << 60).to_bytes(11, 'big')
    header[136:148], header[156:157], header[257:265] = b'00000000000\0', b'L', b'ustar  \0'
    header[148:156] = b' ' * 8
    header[148:156] = b'%06o\0 ' % sum(header)
    vchan.stdout(bytes(header))
    for_ever(lambda: vchan.stdout(b'x' * 32768))


MODES = {function.__name__.replace('_', '-'): function for function in (
    silent, taken, taken_for_ever, taken_slowly, started, stdout_for_ever, empty_for_ever,
    stderr_for_ever, escapes,
    frame_too_large, unknown_kind, noise, refused, bad_index, closes, stdout_file,
    copy_files_for_ever, copy_file_for_ever, copy_folders_for_ever, copy_then_silence, copy_cut,
    copy_escapes, copy_whole_then_hold, copy_outside, tar_long_name_for_ever,
)}


def main(modes, *words):
    sends = [MODES[mode] for mode in modes.split(',')]
    # As init publishes its vchan a moment after the app's start, ours has to come after it.
    time.sleep(2)
    vchan, store = Vchan(), Xenstore()
    vchan.publish(store)
    print('serving', modes, flush=True)
    open('/serving', 'w').close()
    while True:
        vchan.wait_for_client()
        send = sends.pop(0) if len(sends) > 1 else sends[0]
        try:
            kind, payload = vchan.read_frame()
            request = json.loads(payload)['request'] if kind == HELLO else None
            print('request', json.dumps(request), flush=True)
            if request == 'output':
                print(ELSEWHERE, end='', flush=True)
            send(vchan, request, *words)
        except Gone:
            pass
        vchan.wait_for_its_end()
        print('gone', flush=True)
        vchan.page[SERVER_LIVE] = LIVE
        vchan.renew()


if __name__ == '__main__':
    main(*sys.argv[1:])

# The end: who waits for the whole file looks for this line.
