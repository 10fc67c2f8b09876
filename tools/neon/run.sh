#!/usr/bin/env bash
# Runs a command in this workspace inside a Debian that compiles Rust for aarch64 and runs what it compiled under qemu; makes that Debian first,
# in a folder of its own. See README.md.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: run.sh COMMAND [ARG...]     for example: run.sh cargo test --release --target aarch64-unknown-linux-gnu -p radnet-kernels
RADNET_NEON_ROOT names the folder of the Debian (target/neon/debian), RADNET_NEON_MIRROR where its packages come from, RADNET_NEON_APT further
options of apt-get. RADNET_REQUIRE_ISA, RADNET_REQUIRE_INTEGERS, RADNET_ISA and QEMU_CPU (max) are passed on.
TEXT
}

die() {
    echo "run.sh: $*" >&2
    exit 2
}

workspace=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
root=${RADNET_NEON_ROOT:-$workspace/target/neon/debian}
mirror=${RADNET_NEON_MIRROR:-http://deb.debian.org/debian}
target=aarch64-unknown-linux-gnu
# Debian builds Rust's standard library for its own architectures: the one of arm64 goes with the compiler of amd64 of the same version.
packages="rustc cargo libstd-rust-dev:arm64 gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user"

make_debian() {
    [ ! -e "$root/ready" ] || return 0
    [ ! -e "$root" ] || die "$root is not complete: remove it, or name another folder in RADNET_NEON_ROOT"
    command -v debootstrap > /dev/null || die "debootstrap is missing: apt-get install debootstrap"
    mkdir -p "$root"
    debootstrap --variant=minbase sid "$root" "$mirror" >&2
    inside bash -ec "
        export DEBIAN_FRONTEND=noninteractive
        dpkg --add-architecture arm64
        apt-get ${RADNET_NEON_APT:-} -q update
        apt-get ${RADNET_NEON_APT:-} -qy --no-install-recommends install $packages
        apt-get clean" >&2
    touch "$root/ready"
}

# The workspace and the crates that cargo has downloaded appear at their own paths; the mounts end with the command.
inside() {
    local crates=${CARGO_HOME:-$HOME/.cargo}/registry
    mkdir -p "$root$workspace" "$root/root/.cargo/registry" "$crates"
    # shellcheck disable=SC2016
    unshare --mount --propagation private bash -ec '
        root=$1 workspace=$2 crates=$3
        shift 3
        mount --bind "$workspace" "$root$workspace"
        mount --bind "$crates" "$root/root/.cargo/registry"
        mount --bind /dev "$root/dev"
        mount -t proc proc "$root/proc"
        exec chroot "$root" env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"' - "$root" "$workspace" "$crates" "${environment[@]}" "$@"
}

environment=(CARGO_NET_OFFLINE=true "CARGO_TARGET_DIR=$workspace/target/neon/build")
upper=$(tr a-z- A-Z_ <<< $target)
environment+=("CARGO_TARGET_${upper}_LINKER=aarch64-linux-gnu-gcc" "CARGO_TARGET_${upper}_RUNNER=qemu-aarch64")
environment+=("CARGO_TARGET_${upper}_RUSTFLAGS=-C target-feature=+crt-static")
for name in RADNET_REQUIRE_ISA RADNET_REQUIRE_INTEGERS RADNET_ISA QEMU_CPU; do
    [ -z "${!name:-}" ] || environment+=("$name=${!name}")
done

[ $# -gt 0 ] || { usage >&2 && exit 2; }
case $1 in -h | --help) usage && exit 0 ;; esac
[ "$(id -u)" = 0 ] || die "debootstrap, chroot and mounts want root"
make_debian
(cd "$workspace" && cargo fetch --quiet --locked --target $target)
inside bash -c 'cd "$1" && shift && exec "$@"' - "$workspace" "$@"
