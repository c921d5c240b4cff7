# shellcheck shell=bash
# What scripts/try, scripts/test and .ci/run share: to install what a bare Debian machine lacks. Sourced, not run.

stop() { # STATUS MESSAGE
    echo "${0##*/}: $2" >&2
    exit "$1"
}

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
    "${as_root[@]}" apt-get update -qq </dev/null >&2
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}" \
        </dev/null >&2
}

# Debian 12's own rustc is 1.63; edition 2024 begins with 1.85.
need_cargo() {
    local minor
    command -v cargo >/dev/null || PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
    minor=$(cargo --version 2>/dev/null | sed -n 's/^cargo 1\.\([0-9]*\)\..*/\1/p') || true
    ((${minor:-0} >= 85)) ||
        stop 69 "no cargo of Rust 1.85 or later here${minor:+ (1.$minor)}: install one with rustup, then try again"
}

need_all() {
    need pkg-config pkg-config cc gcc dbus-daemon dbus systemctl systemd busctl systemd unshare util-linux \
        mount mount find findutils
    need_cargo
}

has_cgroup_v1() { grep -qs 'name=systemd' /proc/self/cgroup; }
