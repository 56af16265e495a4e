#!/usr/bin/env python3
"""House rules that a program can check. Prints `file:line: what` for each breach and exits 1; --self-test proves that each check fires."""
import glob
import re
import shutil
import subprocess
import sys

FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 1200
LINE_LENGTH_MAX = 120
ESSAY_LINES_MIN = 8

FORBIDDEN = {  # in wal/, by name of a call
    "printf", "puts", "putchar", "vprintf", "sprintf", "vsprintf", "strcpy", "strcat", "strncpy", "gets", "getenv", "secure_getenv",
    "rand", "random", "srand", "system", "exit", "_exit", "abort", "assert", "perror", "alloca", "strtok", "usleep",
}
ALLOWED_IN = {"abort": {"wal/check.h"}}
MEMORY_CALLS = {"malloc", "calloc", "realloc", "free", "aligned_alloc"}
MEMORY_FILES = {"raftcore/memory.c", "wal/memory.c", "wal/io_posix.c", "wal/io_uring.c", "wal/io_file.c"}
PURE = {"wal/format.c", "wal/format.h", "wal/batch.c", "wal/batch.h", "wal/map.c", "wal/map.h", "wal/walk.c", "wal/walk.h",
        "wal/verdict.c", "wal/verdict.h", "wal/bytes.h", "wal/strategy.c"}
SHARED = {"wal/bytes.h"}  # What the core takes from wal/: loads and stores. Nothing that does I/O.
# What joins the core to the log and the disk, and may know them.
JOINT = re.compile(r"raftcore/(disk|disk_files|node|node_\w+|snapshot_store|storage|storage_(copy|open))\.[ch]$")
JOINT_SHARED = {"wal/bytes.h", "wal/check.h", "wal/io.h", "wal/wal.h"}
OS_HEADERS = {"unistd.h", "fcntl.h", "pthread.h", "time.h", "sys/uio.h", "sys/stat.h", "liburing.h", "sched.h", "errno.h"}


def strip_comments(text):
    """Comments and strings become blanks, lines stay."""
    def blank(match):
        return re.sub(r"[^\n]", " ", match.group(0))
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', blank, text, flags=re.S)


def check_lines(path, text):
    for number, line in enumerate(text.split("\n"), 1):
        if len(line) > LINE_LENGTH_MAX:
            yield number, f"{len(line)} characters, at most {LINE_LENGTH_MAX}"
        if re.search(r"\b(TODO|FIXME|XXX)\b", line):
            yield number, "left open: finish it, or say it in the issue"
        if line.endswith((" ", "\t")):
            yield number, "blank at the end"
    count = text.count("\n")
    if count > FILE_LINES_MAX:
        yield count, f"{count} lines, at most {FILE_LINES_MAX}: is it still one concept?"


def check_functions(path, text):
    start = None
    for number, line in enumerate(strip_comments(text).split("\n"), 1):
        if line.startswith("{"):
            start = number
        elif line.startswith("}") and start is not None:
            if number - start - 1 > FUNCTION_LINES_MAX:
                yield start, f"function of {number - start - 1} lines, at most {FUNCTION_LINES_MAX}"
            start = None


def is_library(path):
    return path.startswith(("wal/", "raftcore/"))


def check_calls(path, text):
    if not is_library(path):
        return
    for number, line in enumerate(strip_comments(text).split("\n"), 1):
        for name in re.findall(r"(?<![\w>.])([a-z_]\w*)\s*\(", line):
            if name in FORBIDDEN and path not in ALLOWED_IN.get(name, ()):
                yield number, f"calls {name}()"
            if name in MEMORY_CALLS and path not in MEMORY_FILES:
                yield number, f"calls {name}(): memory comes from memory.h"


def allowed_includes(text):
    """The list behind 'May include:' in the file's first comment."""
    first = re.match(r"\s*/\*(.*?)\*/", text, flags=re.S)
    found = re.search(r"May include:(.*?)\.\s*$", re.sub(r"\n \*", " ", first.group(1)).strip(), flags=re.S) if first else None
    if not found:
        return None
    return set(re.findall(r"[\w./-]+\.h", found.group(1)))


def check_includes(path, text):
    if not is_library(path):
        return
    home = path.split("/")[0] + "/"
    own = set(re.findall(r'^#include "([^"]+)"', text, flags=re.M))
    system = set(re.findall(r"^#include <([^>]+)>", text, flags=re.M))
    if "liburing.h" in system and path != "wal/io_uring.c":
        yield 1, "only io_uring.c knows liburing"
    joint = JOINT.match(path) is not None
    if (path in PURE or (home == "raftcore/" and not joint)) and (system - {"errno.h"}) & OS_HEADERS:
        yield 1, f"pure, but includes {', '.join(sorted(system & OS_HEADERS))}"
    if path in ("wal/wal.h", "wal/io.h", "raftcore/raftcore.h"):
        if own:
            yield 1, "a public header stands alone"
        return
    allowed = allowed_includes(text)
    if allowed is None:
        yield 1, "its first comment does not end in 'May include: ...'"
        return
    for header in sorted(own):
        short = header[len(home):] if header.startswith(home) else header
        if not header.startswith(home):
            if home != "raftcore/" or header not in (JOINT_SHARED if joint else SHARED):
                yield 1, f"includes {header}: {home} knows only {home}"
        elif short not in allowed and not reachable(short, allowed, home):
            yield 1, f"includes {header}, which its first comment does not allow"


def header_allows(path, cache={}):
    if path not in cache:
        try:
            with open(path, encoding="utf-8") as file:
                cache[path] = allowed_includes(file.read()) or set()
        except OSError:
            cache[path] = set()
    return cache[path]


def reachable(header, allowed, home):
    """A header that an allowed one includes anyway is allowed."""
    seen, todo = set(), list(allowed)
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        todo += header_allows(home + name)
    return header in seen


def check_cycles(files):
    """Headers of a library must not include each other in a circle."""
    graph = {path: set(re.findall(r'^#include "([^"]+)"', text, flags=re.M))
             for path, text in files.items() if is_library(path) and path.endswith(".h")}
    for start in graph:
        seen, todo = set(), list(graph[start])
        while todo:
            name = todo.pop()
            if name == start:
                yield f"{start}:1: includes itself in a circle"
                break
            if name not in seen:
                seen.add(name)
                todo += graph.get(name, ())


def check_essay(path, text):
    if not is_library(path) or not path.endswith(".c"):
        return
    first = re.match(r"/\*(.*?)\*/", text, flags=re.S)
    if not first or first.group(1).count("\n") < ESSAY_LINES_MIN:
        yield 1, f"does not open with an essay of at least {ESSAY_LINES_MIN} lines"
        return
    for word in ("happy path", "can fail", "nvariants"):
        if word not in first.group(1):
            yield 1, f"its essay says nothing of '{word}'"


CHECKS = (check_lines, check_functions, check_calls, check_includes, check_essay)


def breaches(files):
    for path, text in sorted(files.items()):
        for check in CHECKS:
            for line, what in check(path, text):
                yield f"{path}:{line}: {what}"
    yield from check_cycles(files)


def check_layout(paths):
    if shutil.which("clang-format") is None:
        print("tidy: no clang-format here, layout not checked", file=sys.stderr)
        return
    done = subprocess.run(["clang-format", "--dry-run", "-Werror", *paths], capture_output=True, text=True, check=False)
    for line in done.stderr.split("\n"):
        if ": error:" in line:
            yield line.split(": error:")[0] + ": layout: run make format"


ESSAY = "/* x.c - test.\n *\n" + " * happy path, can fail, invariants\n" * 8 + " * May include: bytes.h. */\n"
SELF_TEST = {  # a file that each check must object to
    "characters, at most": ("wal/x.c", ESSAY + "int a; /* " + "y" * 120 + " */\n"),
    "left open": ("tests/x.c", "/* TO" + "DO */\n"),
    "blank at the end": ("tests/x.c", "int a; \n"),
    "function of": ("tests/x.c", "int f(void)\n{\n" + "    g();\n" * 71 + "}\n"),
    "lines, at most": ("tests/x.c", "int a;\n" * (FILE_LINES_MAX + 1)),
    "calls getenv()": ("wal/x.c", ESSAY + 'void f(void)\n{\n    getenv("A");\n}\n'),
    "calls malloc()": ("wal/x.c", ESSAY + "void f(void)\n{\n    malloc(1);\n}\n"),
    "only io_uring.c": ("wal/x.c", ESSAY + "#include <liburing.h>\n"),
    "pure, but": ("wal/map.c", ESSAY + "#include <unistd.h>\n"),
    "stands alone": ("wal/wal.h", '/* x */\n#include "wal/bytes.h"\n'),
    "May include": ("wal/x.c", ESSAY.replace("May include: bytes.h.", "")),
    "does not allow": ("wal/x.c", ESSAY + '#include "wal/wal.h"\n'),
    "knows only wal/": ("wal/x.c", ESSAY + '#include "raftcore/raft.h"\n'),
    "essay of": ("wal/x.c", "/* x.c\n * May include: nothing of the project. */\n"),
    "says nothing of": ("wal/x.c", ESSAY.replace("happy path", "")),
    "in a circle": ("wal/x.h", '/* x\n * May include: x.h. */\n#include "wal/x.h"\n'),
}


def self_test():
    silent = [name for name, (path, text) in SELF_TEST.items() if not any(name in line for line in breaches({path: text}))]
    clean = list(breaches({"wal/x.c": ESSAY + '#include "wal/bytes.h"\nint f(void)\n{\n    return snprintf(0);\n}\n'}))
    for name in silent:
        print(f"tidy: the check for '{name}' does not fire")
    for line in clean:
        print(f"tidy: false alarm: {line}")
    print(f"tidy: {len(SELF_TEST) - len(silent)} of {len(SELF_TEST)} checks fire")
    return 1 if silent or clean else 0


def main():
    if "--self-test" in sys.argv[1:]:
        return self_test()
    paths = sorted(path for folder in ("wal", "raftcore", "bench", "tools", "tests") for path in glob.glob(folder + "/*.[ch]") + glob.glob(folder + "/raft/*.[ch]") + glob.glob(folder + "/sim/*.[ch]") + glob.glob(folder + "/example/*.[ch]"))
    files = {}
    for path in paths:
        with open(path, encoding="utf-8") as file:
            files[path] = file.read()
    found = list(breaches(files)) + list(check_layout(paths))
    for line in found:
        print(line)
    print(f"tidy: {len(paths)} files, {len(found)} breaches")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
