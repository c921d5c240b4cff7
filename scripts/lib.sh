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

has_cgroup_v1() { grep -qs 'name=systemd' /proc/self/cgroup; }
