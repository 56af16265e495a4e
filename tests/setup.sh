#!/bin/sh
# Installs the Debian packages that are missing, and says so; does nothing, silently, when all are there.
# usage: setup.sh [build] [test] [bench] [peers] [tidy] [fuzz] [sanitize]
set -eu
packages="gcc make pkg-config liburing-dev libxxhash-dev"
for part in "$@"; do
    case "$part" in
    test) packages="$packages libcmocka-dev python3 g++ strace" ;;
    bench) packages="$packages fio gnuplot-nox" ;;
    peers) packages="$packages librocksdb-dev libsqlite3-dev liblmdb-dev libraft-dev libuv1-dev" ;;
    tidy) packages="$packages clang-format python3" ;;
    fuzz) packages="$packages clang libclang-rt-14-dev" ;;
    sanitize) packages="$packages libasan8 libubsan1 libtsan2" ;;
    esac
done
missing=""
for package in $packages; do
    status=$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || true)
    case "$status" in
    *"ok installed"*) ;;
    *) missing="$missing $package" ;;
    esac
done
[ -z "$missing" ] && exit 0
if ! command -v apt-get >/dev/null 2>&1; then
    echo "setup: missing:$missing (this is no Debian: install their like by hand)" >&2
    exit 1
fi
as_root=""
if [ "$(id -u)" -ne 0 ]; then
    if command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
        as_root="sudo -n"
    else
        echo "setup: please run this once:  sudo apt-get install -y$missing" >&2
        exit 1
    fi
fi
echo "setup: installing$missing"
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086
$as_root apt-get install -y -qq $missing >/dev/null 2>&1 || {
    $as_root apt-get update -qq
    $as_root apt-get install -y -qq $missing >/dev/null
}
