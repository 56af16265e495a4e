#!/bin/sh
# Installs into a staged tree and builds the README's program against it with plain `cc $(pkg-config ...)`: as C and as C++, shared and static.
# Checks the SONAME, and that nothing but wal_*, raftcore_* and codec_* is exported. The same for the Raft example.
set -eu
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
prefix=/usr/local
make -s install DESTDIR="$stage" PREFIX=$prefix >/dev/null
export PKG_CONFIG_PATH="$stage$prefix/lib/pkgconfig" PKG_CONFIG_SYSROOT_DIR="$stage"
lib="$stage$prefix/lib"
awk '/^## A program that embeds the log/ { found = 1 } found && /^```c$/ { on = 1; next } on && /^```$/ { exit } on' README.md >"$stage/example.c"
[ -s "$stage/example.c" ] || { echo "no program found in README.md"; exit 1; }
cp "$stage/example.c" "$stage/example.cc"

try() { # name, command that links
    name=$1
    shift
    "$@" || { echo "$name does not build"; exit 1; }
    (cd "$stage" && rm -rf example-log && LD_LIBRARY_PATH="$lib" "./$name" >"$name.out")
    grep -q '^index 1: success$' "$stage/$name.out" || { echo "$name printed:"; cat "$stage/$name.out"; exit 1; }
}
warn="-Wall -Wextra -Wpedantic -Werror"
try as-c cc $warn -std=c11 -o "$stage/as-c" "$stage/example.c" $(pkg-config --cflags --libs libwal)
try as-c-static cc $warn -std=c11 -o "$stage/as-c-static" "$stage/example.c" $(pkg-config --cflags libwal) "$lib/libwal.a" -luring -pthread
if command -v c++ >/dev/null; then
    try as-cxx c++ $warn -std=c++17 -o "$stage/as-cxx" "$stage/example.cc" $(pkg-config --cflags --libs libwal)
else
    echo "skipped: no C++ compiler"
fi
readelf -d "$lib/libwal.so" | grep -q 'SONAME.*libwal\.so\.0' || { echo "wrong SONAME"; exit 1; }
foreign=$(nm -D --defined-only "$lib/libwal.so" | awk '$3 !~ /^wal_/ { print $3 }')
[ -z "$foreign" ] || { echo "exported without wal_: $foreign"; exit 1; }
foreign=$(nm -D --defined-only "$lib/libraftcore.so" | awk '$3 !~ /^(raftcore|codec)_/ { print $3 }')
[ -z "$foreign" ] || { echo "exported by libraftcore without raftcore_: $foreign"; exit 1; }
# The example of a replicated service, built as a stranger would.
cc $warn -std=c11 -o "$stage/counter" tools/example/raft_counter.c $(pkg-config --cflags --libs libraftcore) || { echo "raft_counter does not build"; exit 1; }
(cd "$stage" && LD_LIBRARY_PATH="$lib" ./counter nodes 50 >counter.out && [ "$(grep -c 'counts 50$' counter.out)" = 3 ]) || { echo "raft_counter failed"; exit 1; }
# The tool, what it says of itself, and what tells how to use it.
[ "$("$stage$prefix/bin/waldump" --version | cut -d ' ' -f 1)" = waldump ] || { echo "the installed waldump does not run"; exit 1; }
[ -s "$stage$prefix/share/man/man1/waldump.1" ] || { echo "no manual page"; exit 1; }
bash -n "$stage$prefix/share/bash-completion/completions/waldump" || { echo "the completion does not read"; exit 1; }
# Each public header stands alone, without any feature macro.
for header in wal io; do
    printf '#include <wal/%s.h>\nint main(void) { return 0; }\n' $header >"$stage/alone.c"
    cp "$stage/alone.c" "$stage/alone.cc"
    cc $warn -std=c11 -fsyntax-only $(pkg-config --cflags libwal) "$stage/alone.c"
    command -v c++ >/dev/null && c++ $warn -std=c++17 -fsyntax-only $(pkg-config --cflags libwal) "$stage/alone.cc"
done
for header in raftcore node disk codec; do
    printf '#include <raftcore/%s.h>\nint main(void) { return 0; }\n' $header >"$stage/alone.c"
    cp "$stage/alone.c" "$stage/alone.cc"
    cc $warn -std=c11 -fsyntax-only $(pkg-config --cflags libraftcore) "$stage/alone.c"
    command -v c++ >/dev/null && c++ $warn -std=c++17 -fsyntax-only $(pkg-config --cflags libraftcore) "$stage/alone.cc"
done
echo "result: the README's program builds and runs against the staged tree"
