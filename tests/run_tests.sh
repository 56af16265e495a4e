#!/bin/sh
# Runs every test program, a line each; the whole output of one that fails. Called by make test, which sets OUT, COUNT, KILLS, SEED, SEEDS, STATES, SIMS,
# ONLY (a part of the names to run) and EXCEPT (names to leave out).
# The last line is `N passed, N failed`, and the exit code says the same.
set -u
passed=0
failed=0
log=build/tmp/test.log

run() { # name, seconds allowed, command...
    name=$1
    bound=$2
    shift 2
    case "$name" in *"$ONLY"*) ;; *) return ;; esac
    case " $EXCEPT " in *" $name "*) return ;; esac
    started=$(date +%s%N)
    if timeout -k 5 "$bound" "$@" >"$log" 2>&1; then
        verdict=ok
        passed=$((passed + 1))
    else
        code=$?
        verdict="FAILED ($([ "$code" -eq 124 ] && echo "over $bound s" || echo "exit $code"))"
        failed=$((failed + 1))
    fi
    ended=$(date +%s%N)
    tests=$(grep -ac '^\[       OK \]' "$log")
    printf '%-7s %-18s %6d ms%s\n' "$verdict" "$name" $(((ended - started) / 1000000)) "$([ "$tests" -gt 0 ] && echo "  $tests tests")"
    grep -a '^skipped: ' "$log"
    case "$verdict" in FAILED*) cat "$log" ;; ok) grep -a '^result: ' "$log" ;; esac
}

for program in "$OUT"/test_*; do
    [ -f "$program" ] && [ -x "$program" ] && run "$(basename "$program")" 240 "$program"
done
for program in "$OUT"/replay_*; do
    [ -f "$program" ] && [ -x "$program" ] || continue
    kind=$(basename "$program" | sed 's/^replay_//')
    run "replay_$kind" 120 "$program" "tests/corpus/$kind"
done
for script in tests/test_*.py; do
    [ -f "$script" ] && run "$(basename "$script")" 240 python3 "$script"
done
if [ "$OUT" = build ]; then
    for script in tests/test_*.sh; do
        [ -f "$script" ] && run "$(basename "$script")" 180 sh "$script"
    done
fi
[ -x "$OUT/crash_wal" ] && run crash_wal 300 "$OUT/crash_wal" --count "$COUNT" --seed "$SEED"
[ -x "$OUT/kill_wal" ] && run kill_wal 300 "$OUT/kill_wal" --kills "$KILLS" --seed "$SEED"
[ -x "$OUT/raft_random" ] && run raft_random 240 "$OUT/raft_random" --seeds "$SEEDS"
[ -x "$OUT/raft_explore" ] && run raft_explore 240 "$OUT/raft_explore" --states "$STATES"
[ -x "$OUT/bin/raftsim" ] && run raftsim 240 "$OUT/bin/raftsim" --seeds "$SIMS" -j2
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
