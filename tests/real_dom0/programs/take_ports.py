"""Takes all event channels that dom0 has left but for FREE, until told to end by SIGTERM.

The ports are unbound ones of dom0 for dom0 itself, made by hypercalls: its kernel, which would need
memory for each, does not learn of them. Says "taken N" when it is done.
"""
import ctypes, fcntl, mmap, os, signal, struct, sys

PRIVCMD_HYPERCALL = 0x305000  # _IOC(_IOC_NONE, 'P', 0, 48)
MULTICALL, EVENT_CHANNEL_OP, CLOSE, ALLOC_UNBOUND = 13, 32, 3, 6
AT_ONCE = 1024
CALL = struct.Struct("QqQQQQQQ")  # operation, result, arguments
ARGUMENT = 8

privcmd = os.open("/dev/xen/privcmd", os.O_RDWR)
size = AT_ONCE * (CALL.size + ARGUMENT)
memory = mmap.mmap(os.open("/dev/xen/hypercall", os.O_RDWR), size)
address = ctypes.addressof(ctypes.c_char.from_buffer(memory))


def event_channel_ops(command, arguments):
    """Does them all; gives (result, argument) of each."""
    first = AT_ONCE * CALL.size
    for index, argument in enumerate(arguments):
        at = first + index * ARGUMENT
        memory[at : at + ARGUMENT] = argument
        CALL.pack_into(memory, index * CALL.size, EVENT_CHANNEL_OP, 0, command, address + at, 0, 0, 0, 0)
    fcntl.ioctl(privcmd, PRIVCMD_HYPERCALL, struct.pack("6Q", MULTICALL, address, len(arguments), 0, 0, 0))
    for index in range(len(arguments)):
        at = first + index * ARGUMENT
        yield CALL.unpack_from(memory, index * CALL.size)[1], memory[at : at + ARGUMENT]


def close(ports):
    while ports:
        some = [ports.pop() for _ in range(min(AT_ONCE, len(ports)))]
        list(event_channel_ops(CLOSE, [struct.pack("II", port, 0) for port in some]))


signal.signal(signal.SIGTERM, lambda *_: sys.exit())
ports = []
try:
    full = False
    while not full:
        for result, argument in event_channel_ops(ALLOC_UNBOUND, [bytes(ARGUMENT)] * AT_ONCE):
            if result == 0:
                ports.append(struct.unpack("HHI", argument)[2])
            full = full or result != 0
    free = int(sys.argv[1])
    close([ports.pop() for _ in range(free)])
    print("taken", len(ports), flush=True)
    signal.pause()
finally:
    close(ports)
