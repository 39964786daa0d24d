//! System calls: a seccomp filter made of lists.
#![expect(unsafe_code, reason = "no safe interface installs a filter of one's own")]

use std::io;

/// Which system calls the process may still make.
///
/// For each call the first of these that fits decides: `checked` and one of its alternatives
/// holds: allowed. In `deadly`: the kernel kills the process. In `checked` and no alternative
/// holds: `EPERM`. In `allowed`: allowed. All others: `ENOSYS`, which C libraries take as "try the
/// older call".
///
/// Calls for a foreign architecture kill the process.
#[derive(Clone, Copy, Debug)]
pub struct Calls<'a> {
    /// Calls that are always allowed, by `libc::SYS_…`, as any number of lists.
    pub allowed: &'a [&'a [i64]],
    /// Calls that are allowed if all [`Test`]s of any one of their alternatives hold.
    pub checked: &'a [(i64, &'a [&'a [Test]])],
    /// Calls that only an intruder makes.
    pub deadly: &'a [i64],
}

/// A test on one argument of a system call; `argument` counts from 0.
#[derive(Clone, Copy, Debug)]
pub enum Test {
    /// The argument's lower 32 bits are `value`.
    Is {
        /// Which argument.
        argument: u8,
        /// What it must be.
        value: u32,
    },
    /// Of the argument's lower 32 bits those in `mask` are `value`.
    Masked {
        /// Which argument.
        argument: u8,
        /// The bits to look at.
        mask: u32,
        /// What they must be.
        value: u32,
    },
    /// All 64 bits of the argument are zero, as a null pointer's are.
    Null {
        /// Which argument.
        argument: u8,
    },
}

// `include/uapi/linux/audit.h` and `seccomp.h`.
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xC000_00B7;
const SECCOMP_SET_MODE_FILTER: libc::c_ulong = 1;
/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGUMENTS: u32 = 16;

// `include/uapi/linux/bpf_common.h`: the codes of the few instructions needed, as sums of
// BPF_LD + BPF_W + BPF_ABS, and so on.
const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const IF_EQUAL: u16 = 0x15;
const JUMP: u16 = 0x05;
const RETURN: u16 = 0x06;

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const KILL: u32 = libc::SECCOMP_RET_KILL_PROCESS;

fn error(errno: libc::c_int) -> u32 {
    libc::SECCOMP_RET_ERRNO | errno.unsigned_abs()
}

impl Calls<'_> {
    /// Installs the filter on the calling thread; needs `no_new_privs`.
    pub(crate) fn restrict(&self) -> io::Result<()> {
        let mut program = self.program()?;
        let length = u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let filter = libc::sock_fprog { len: length, filter: program.as_mut_ptr() };
        // SAFETY: `filter` and the instructions it points to live until the call returns; the
        // kernel copies them and checks them before use.
        let done = unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                SECCOMP_SET_MODE_FILTER,
                0 as libc::c_ulong,
                &raw const filter,
            )
        };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    fn program(&self) -> io::Result<Vec<libc::sock_filter>> {
        let mut program = vec![
            instruction(LOAD, ARCH),
            skip_if(ARCHITECTURE, 1, 0),
            instruction(RETURN, KILL),
            instruction(LOAD, NUMBER),
        ];
        for (call, alternatives) in self.checked {
            let otherwise = if self.deadly.contains(call) { KILL } else { error(libc::EPERM) };
            let block = checked(alternatives, otherwise)?;
            program.push(skip_if(number(*call)?, 1, 0));
            // A conditional jump reaches 255 instructions only.
            program.push(instruction(JUMP, u32::try_from(block.len()).unwrap_or(u32::MAX)));
            program.extend(block);
        }
        let mut answer = |calls: &[i64], answer: u32| {
            for call in calls {
                program.push(skip_if(number(*call)?, 0, 1));
                program.push(instruction(RETURN, answer));
            }
            Ok::<_, io::Error>(())
        };
        answer(self.deadly, KILL)?;
        for calls in self.allowed {
            answer(calls, ALLOW)?;
        }
        program.push(instruction(RETURN, error(libc::ENOSYS)));
        Ok(program)
    }
}

/// What decides on one call, whatever comes of it.
fn checked(alternatives: &[&[Test]], otherwise: u32) -> io::Result<Vec<libc::sock_filter>> {
    let mut block = Vec::new();
    for tests in alternatives {
        // From the last to the first, as each must know how far the next alternative is.
        let mut parts = vec![vec![instruction(RETURN, ALLOW)]];
        let mut rest = 1;
        for test in tests.iter().rev() {
            let part = compare(test, rest).ok_or(io::ErrorKind::InvalidInput)?;
            rest += part.len();
            parts.push(part);
        }
        block.extend(parts.into_iter().rev().flatten());
    }
    block.push(instruction(RETURN, otherwise));
    Ok(block)
}

/// Goes on if `test` holds, else skips `rest` instructions; `None` if they are too many.
fn compare(test: &Test, rest: usize) -> Option<Vec<libc::sock_filter>> {
    let rest = u8::try_from(rest).ok()?;
    // Both architectures are little-endian: the lower half of an argument comes first.
    let lower = |argument: u8| instruction(LOAD, ARGUMENTS + 8 * u32::from(argument));
    let upper = |argument: u8| instruction(LOAD, ARGUMENTS + 8 * u32::from(argument) + 4);
    Some(match *test {
        Test::Is { argument, value } => vec![lower(argument), skip_if(value, 0, rest)],
        Test::Masked { argument, mask, value } => {
            vec![lower(argument), instruction(AND, mask), skip_if(value, 0, rest)]
        }
        Test::Null { argument } => vec![
            lower(argument),
            skip_if(0, 0, rest.checked_add(2)?),
            upper(argument),
            skip_if(0, 0, rest),
        ],
    })
}

fn number(call: i64) -> io::Result<u32> {
    u32::try_from(call).map_err(|_| io::ErrorKind::InvalidInput.into())
}

fn instruction(code: u16, k: u32) -> libc::sock_filter {
    libc::sock_filter { code, jt: 0, jf: 0, k }
}

/// Skips `if_equal` instructions when the accumulator is `value`, else `otherwise`.
fn skip_if(value: u32, if_equal: u8, otherwise: u8) -> libc::sock_filter {
    libc::sock_filter { jt: if_equal, jf: otherwise, ..instruction(IF_EQUAL, value) }
}
