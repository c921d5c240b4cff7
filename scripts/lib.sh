# What scripts/try and scripts/test share: to install what a bare Debian machine lacks. Sourced, not run.

need() {
    local missing=()
    while (($#)); do
        command -v "$1" >/dev/null || missing+=("$2")
        shift 2
    done
    pkg-config --exists dbus-1 2>/dev/null || missing+=(libdbus-1-dev)
    if ((${#missing[@]})); then
        local as_root=()
        ((EUID == 0)) || as_root=(sudo)
        "${as_root[@]}" apt-get update -qq
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}"
    fi
    if ! command -v cargo >/dev/null; then
        echo "${0##*/}: no cargo here; install Rust 1.85 or later with rustup, then try again" >&2
        exit 69
    fi
}

need_all() {
    need pkg-config pkg-config cc gcc dbus-daemon dbus systemctl systemd unshare util-linux
}
