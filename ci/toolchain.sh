# Sourced by the programs beside it: makes sure that cargo is there, then runs one of ours with it.

say() { echo "${0##*/}: $*" >&2; }

# cargo_is_good: is there a cargo, and is it at least 1.85?
cargo_is_good() {
    version=$(cargo --version 2>/dev/null) || return 1
    version=${version#cargo }
    minor=${version#*.}
    minor=${minor%%.*}
    [ "${version%%.*}" -gt 1 ] || [ "$minor" -ge 85 ]
}

# install_packages NAME…: as root or with sudo.
install_packages() {
    if [ "$(id -u)" = 0 ]; then
        sudo=
    elif command -v sudo >/dev/null; then
        sudo=sudo
    else
        say "needs these Debian packages: $*; install them, or run this as root, or install sudo"
        exit 125
    fi
    say "installing $*"
    log=$(mktemp)
    for step in update "install -y --no-install-recommends $*"; do
        # shellcheck disable=SC2086 # the words of a step are meant to be split
        if ! $sudo env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=600 $step \
            >"$log" 2>&1 </dev/null; then
            tail -n 30 "$log" >&2
            say "cannot install $*"
            exit 125
        fi
    done
    rm -f "$log"
}

ensure_toolchain() {
    wanted=
    if ! cargo_is_good; then
        case $(. /etc/os-release && echo "$ID:$VERSION_CODENAME") in
        # Debian 12's own compiler is too old; the one kept up to date for browsers is not.
        debian:bookworm) wanted='rustc-web cargo-web rustfmt-web' ;;
        debian:*) wanted='cargo rustc rustfmt rust-clippy' ;;
        *)
            say "needs cargo 1.85 or newer, and this is not Debian: install one and try again"
            exit 125
            ;;
        esac
    fi
    command -v cc >/dev/null || wanted="$wanted gcc libc6-dev"
    [ -e /etc/ssl/certs/ca-certificates.crt ] || wanted="$wanted ca-certificates"
    # shellcheck disable=SC2086 # the packages are meant to be split
    [ -z "$wanted" ] || install_packages $wanted
    if ! cargo_is_good; then
        say "cargo $(cargo --version 2>&1) is too old: 1.85 or newer is needed"
        exit 125
    fi
}

# run_ours PACKAGE PROGRAM ARGUMENT…: builds a program of a package when needed, and becomes it.
run_ours() {
    package=$1 program=$2
    shift 2
    ensure_toolchain
    # A relative one would mean another folder in each program that is started from elsewhere.
    case ${CARGO_TARGET_DIR:-} in
    '') unset CARGO_TARGET_DIR ;;
    /*) ;;
    *) CARGO_TARGET_DIR=$PWD/$CARGO_TARGET_DIR ;;
    esac
    exec cargo run --quiet --manifest-path "$ci/../Cargo.toml" --package "$package" --bin "$program" -- "$@"
}
