# shellcheck shell=bash
# What the other scripts and .ci/run share: to install what a bare Debian machine lacks. Sourced, not run.

stop() { # STATUS MESSAGE
    echo "${0##*/}: $2" >&2
    exit "$1"
}

# Prints what stands at the head of the script that sources this.
help() { sed -n '2,/^set/ { /^set/d; s/^# \{0,1\}//p }' "$0"; }

# Installs packages whose command is not there. A machine that has everything is asked for no network and no rights.
need() { # [COMMAND PACKAGE]...
    local missing=()
    while (($#)); do
        command -v "$1" >/dev/null || missing+=("$2")
        shift 2
    done
    pkg-config --exists dbus-1 2>/dev/null || missing+=(libdbus-1-dev)
    ((${#missing[@]})) || return 0

    command -v apt-get >/dev/null || stop 69 "missing, in Debian's names: ${missing[*]} (and no apt-get to install them)"
    local as_root=()
    if ((EUID != 0)); then
        command -v sudo >/dev/null || stop 77 "as root: apt-get install ${missing[*]}"
        as_root=(sudo)
    fi
    echo "${0##*/}: installing ${missing[*]}" >&2
    local lost="could not install ${missing[*]}; is there a network?"
    "${as_root[@]}" apt-get update -qq </dev/null >&2 || stop 69 "$lost"
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}" </dev/null >&2 ||
        stop 69 "$lost"
}

cargo_minor() { cargo --version 2>/dev/null | sed -n 's/^cargo 1\.\([0-9]*\)\..*/\1/p'; }

# Debian 12's own cargo is of Rust 1.63, Debian 13's of 1.85, with which edition 2024 begins.
need_cargo() {
    command -v cargo >/dev/null || PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
    command -v cargo >/dev/null || need cargo cargo
    local minor
    minor=$(cargo_minor) || true
    ((${minor:-0} >= 85)) ||
        stop 69 "the cargo here is of Rust 1.${minor:-?}, and 1.85 is the first that will do: install one with rustup"
}

need_all() {
    need pkg-config pkg-config cc gcc dbus-daemon dbus systemctl systemd busctl systemd unshare util-linux \
        mount mount find findutils
    need_cargo
}

# Sets `compiler` to a cargo whose compiler has the standard library's source beside it, for -Zbuild-std, and `sysroots`
# to where that compiler's libraries are: a rustup toolchain with the component rust-src, or Debian's packages.
# shellcheck disable=SC2034 # both are for the caller
use_compiler_with_source() {
    local toolchain
    for toolchain in nightly stable; do
        if [[ -d $(rustc "+$toolchain" --print sysroot 2>/dev/null)/lib/rustlib/src/rust/library ]]; then
            compiler=("cargo" "+$toolchain")
            sysroots=("$(rustc "+$toolchain" --print sysroot)")
            return
        fi
    done
    [[ -d /usr/lib/rustlib/src/rust/library ]] || need no-such-command rust-web-src no-such-command rustc-web
    compiler=(env RUSTC=/usr/bin/rustc RUSTDOC=/usr/bin/rustdoc cargo)
    sysroots=("$(rustc --print sysroot)" /usr/lib/rustlib)
}

# Builds examples as small static programs, libdbus within them. The standard library is built along with them, for size:
# as it is shipped it is made for speed, and brings tables for an unwinding that these programs never do. What a debugger's
# user reads is left out as well: the places of panics, which still say their reason, and what `{:?}` prints, which here is
# only in the log at level trace.
build_static() { # TARGET EXAMPLE...
    local target=$1 flags=(-C target-feature=+crt-static -C relocation-model=static -C force-unwind-tables=no)
    flags+=(-Zlocation-detail=none -Zfmt-debug=none)
    shift
    use_compiler_with_source
    RUSTC_BOOTSTRAP=1 RUSTFLAGS="${flags[*]}" CFLAGS='-Os -fno-asynchronous-unwind-tables' \
        "${compiler[@]}" build --quiet --profile small --target "$target" --features vendored \
        -Zbuild-std=std,panic_abort -Zbuild-std-features=optimize_for_size "${@/#/--example=}" </dev/null
}

has_cgroup_v1() { grep -qs 'name=systemd' /proc/self/cgroup; }
