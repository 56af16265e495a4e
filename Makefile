# libwal: make, make test, make bench. `make help` tells the rest.

VERSION := 0.1.0
SOVERSION := 0
PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
CFLAGS ?= -O2 -g
SAN ?=
SEED ?= 1
COUNT ?= 200000
KILLS ?= 1500
SEEDS ?= 1..5000
STATES ?= 1000000
SIMS ?= 1..3000
SECONDS ?= 60

# What the code needs, whatever the user's CFLAGS say.
NEEDED := -std=c11 -I. -fvisibility=hidden -fPIC -pthread -MMD -MP
WARNINGS := -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wformat=2 \
            -Wvla -Wundef -fno-common $(if $(WERROR),-Werror)
SANITIZE := $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=all)
LINK := $(SANITIZE) $(LDFLAGS) -pthread
LIBS := -luring

# Objects of another compiler or sanitizer live elsewhere, so that builds never mix.
comma := ,
KIND := $(subst $(comma),-,$(if $(SAN),san-$(SAN),plain))$(if $(filter-out cc gcc,$(CC)),-$(notdir $(CC)))
OUT := $(if $(filter plain,$(KIND)),build,build/$(KIND))
COMPILE = $(CC) $(CPPFLAGS) $(CFLAGS) $(NEEDED) $(WARNINGS) $(SANITIZE)
Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-5s %s\n' $(1) $(2))

LIBRARY := batch chain commit commit_ring commit_wait cut format handle hash io io_file io_posix io_uring latency look map memory open options prepare read recover report scan \
           seal segment stage strategy sweep thread verdict verify wal walk window
RAFTCORE := check codec configuration election follow log member memory message persist progress propose quorum raftcore read repair \
            replicate snapshot step text transfer
# What joins the core to the log; these know libwal.
RAFTNODE := disk_files node node_open node_snapshot node_work snapshot_file snapshot_store storage storage_copy storage_metadata storage_open storage_scan
RAFTCORE_OBJECTS := $(RAFTCORE:%=$(OUT)/obj/raftcore/%.o)
RAFTNODE_OBJECTS := $(RAFTNODE:%=$(OUT)/obj/raftcore/%.o)
RAFTCORE_ZOO_OBJECTS := $(RAFTCORE:%=$(OUT)/zoo/raftcore/%.o)
LIBRARY_OBJECTS := $(LIBRARY:%=$(OUT)/obj/wal/%.o)
POINT_OBJECTS := $(LIBRARY:%=$(OUT)/points/wal/%.o)
ZOO_OBJECTS := $(LIBRARY:%=$(OUT)/zoo/wal/%.o)
BENCH_COMMIT := appends bench_commit cases common engine limits recovery reopen table
BENCH_OBJECTS := $(BENCH_COMMIT:%=$(OUT)/obj/bench/%.o)
WALBENCH := append common compare device device_disk device_text emulate engine explain json json_write peers plot profile raft raft_engine recover reopen result \
            result_json result_text sentence session sync walbench writer
WALBENCH_OBJECTS := $(WALBENCH:%=$(OUT)/obj/bench/%.o) $(OUT)/obj/tools/command_line.o
# All of walbench but its main, for tests.
WALBENCH_PARTS := $(filter-out bench/walbench.c,$(WALBENCH:%=bench/%.c)) tools/command_line.c
WALDUMP_OBJECTS := $(patsubst %.c,$(OUT)/obj/%.o,$(wildcard tools/*.c))
TOOLS := $(if $(wildcard tools/waldump.c),$(OUT)/waldump)
# All of waldump but its main, for tests.
WALDUMP_PARTS := $(filter-out tools/waldump.c,$(wildcard tools/*.c))
# What a Raft node keeps on the disk, as bytes: pure, and without the rest of the core.
WALDUMP_RAFT := codec configuration snapshot_file storage_metadata
WALDUMP_RAFT_OBJECTS := $(WALDUMP_RAFT:%=$(OUT)/obj/raftcore/%.o)

# tests/: programs are test_*, fuzz_*, and those named here; *_fixture helps test_* alone (it asserts by cmocka); the rest
# helps all of them.
CRASH := $(filter-out tests/crash_model.c,$(wildcard tests/crash_*.c))
KILL := $(wildcard tests/kill_*.c)
ZOO := $(wildcard tests/zoo*.c)
FUZZ := $(wildcard tests/fuzz_*.c)
TESTS := $(wildcard tests/test_*.c)
FIXTURES := $(wildcard tests/*_fixture.c)
HELPERS := $(filter-out tests/seed_hunt.c $(CRASH) $(KILL) $(ZOO) $(FUZZ) $(TESTS) $(FIXTURES),$(wildcard tests/*.c))
HELPER_OBJECTS := $(HELPERS:%.c=$(OUT)/obj/%.o)
FIXTURE_OBJECTS := $(FIXTURES:%.c=$(OUT)/obj/%.o)
CRASH_HELPERS := $(filter-out tests/crash_wal.c,$(CRASH))
TEST_PROGRAMS := $(TESTS:tests/%.c=$(OUT)/%)
FUZZ_NAMES := $(FUZZ:tests/fuzz_%.c=%)
REPLAYS := $(FUZZ_NAMES:%=$(OUT)/replay_%)

# tests/raft/: programs are test_raft_*, fuzz_*, random, explore, script and zoo; the rest helps all of them.
RAFT_PROGRAMS := $(filter tests/raft/random.c tests/raft/explore.c tests/raft/script.c tests/raft/zoo.c,$(wildcard tests/raft/*.c))
RAFT_TESTS := $(wildcard tests/raft/test_raft_*.c)
RAFT_HELPERS := $(filter-out $(RAFT_PROGRAMS) $(RAFT_TESTS),$(wildcard tests/raft/*.c))
RAFT_HELPER_OBJECTS := $(RAFT_HELPERS:%.c=$(OUT)/obj/%.o)
RAFT_TEST_PROGRAMS := $(RAFT_TESTS:tests/raft/%.c=$(OUT)/%)
RAFT_RIGS := $(patsubst tests/raft/%.c,$(OUT)/raft_%,$(filter-out tests/raft/zoo.c tests/raft/script.c,$(RAFT_PROGRAMS)))
RAFTSCRIPT := $(OUT)/bin/raftscript

# tests/sim/: whole nodes in a simulated world. Programs are raftsim, zoo and test_*; *_fixture helps test_* alone; the
# rest helps all of them.
SIM_TESTS := $(wildcard tests/sim/test_*.c)
SIM_FIXTURES := $(wildcard tests/sim/*_fixture.c)
SIM_HELPERS := $(filter-out tests/sim/raftsim.c tests/sim/zoo.c $(SIM_TESTS) $(SIM_FIXTURES),$(wildcard tests/sim/*.c)) \
               $(wildcard tests/sim_*.c)
SIM_HELPER_OBJECTS := $(SIM_HELPERS:%.c=$(OUT)/obj/%.o)
SIM_FIXTURE_OBJECTS := $(SIM_FIXTURES:%.c=$(OUT)/obj/%.o)
SIM_TEST_PROGRAMS := $(SIM_TESTS:tests/sim/%.c=$(OUT)/%)
RAFTSIM := $(OUT)/bin/raftsim

.PHONY: all test crash kill zoo fuzz bench bench-commit bench-raft bench-peers peers tidy format install clean help
.SECONDARY:
.DELETE_ON_ERROR:

all: $(OUT)/.setup $(OUT)/libwal.a $(OUT)/libwal.so $(OUT)/libraftcore.a $(OUT)/libraftcore.so $(TOOLS) $(OUT)/walbench $(OUT)/bench_commit $(OUT)/bench_raft $(OUT)/raft_counter

$(OUT)/.setup:
	@mkdir -p $(OUT)
	@sh tests/setup.sh build
	@touch $@
$(OUT)/.setup-%: $(OUT)/.setup
	@sh tests/setup.sh $*
	@touch $@

$(OUT)/obj/%.o: %.c | $(OUT)/.setup
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(COMPILE) -c -o $@ $<
$(OUT)/obj/tests/%.o: tests/%.c | $(OUT)/.setup-test
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(COMPILE) -c -o $@ $<
$(OUT)/points/%.o: %.c | $(OUT)/.setup
	@mkdir -p $(@D)
	$(Q)$(COMPILE) -DWAL_POINTS -c -o $@ $<
$(OUT)/zoo/%.o: %.c | $(OUT)/.setup-test
	@mkdir -p $(@D)
	$(Q)$(COMPILE) -DWAL_ZOO -c -o $@ $<

# For programs: one object in which only the public names are left. For our tests: everything.
$(OUT)/libwal.a: $(LIBRARY_OBJECTS)
	$(call say,AR,$@)
	$(Q)ld -r -o $(OUT)/obj/libwal.o $^ && objcopy --localize-hidden $(OUT)/obj/libwal.o
	$(Q)rm -f $@ && ar rcs $@ $(OUT)/obj/libwal.o
$(OUT)/libwal-tests.a: $(LIBRARY_OBJECTS)
	$(Q)rm -f $@ && ar rcs $@ $^
$(OUT)/libwal.so: $(LIBRARY_OBJECTS)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) -shared -Wl,-soname,libwal.so.$(SOVERSION) -Wl,--no-undefined $(LINK) -o $(OUT)/libwal.so.$(VERSION) $^ $(LIBS)
	$(Q)ln -sf libwal.so.$(VERSION) $(OUT)/libwal.so.$(SOVERSION) && ln -sf libwal.so.$(SOVERSION) $@
$(OUT)/libraftcore.a: $(RAFTCORE_OBJECTS) $(RAFTNODE_OBJECTS)
	$(call say,AR,$@)
	$(Q)ld -r -o $(OUT)/obj/libraftcore.o $^ && objcopy --localize-hidden $(OUT)/obj/libraftcore.o
	$(Q)rm -f $@ && ar rcs $@ $(OUT)/obj/libraftcore.o
$(OUT)/libraftcore-tests.a: $(RAFTCORE_OBJECTS) $(RAFTNODE_OBJECTS)
	$(Q)rm -f $@ && ar rcs $@ $^
$(OUT)/libraftcore.so: $(RAFTCORE_OBJECTS) $(RAFTNODE_OBJECTS) $(OUT)/libwal.so
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) -shared -Wl,-soname,libraftcore.so.$(SOVERSION) -Wl,--no-undefined $(LINK) -o $(OUT)/libraftcore.so.$(VERSION) $^
	$(Q)ln -sf libraftcore.so.$(VERSION) $(OUT)/libraftcore.so.$(SOVERSION) && ln -sf libraftcore.so.$(SOVERSION) $@
$(OUT)/bench_commit: $(BENCH_OBJECTS) $(OUT)/libwal.a
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LINK) -o $@ $^ $(LIBS) -lm
$(OUT)/walbench: $(WALBENCH_OBJECTS) $(OUT)/libraftcore.a $(OUT)/libwal.a
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LINK) -o $@ $^ $(LIBS) -lm
$(OUT)/bench_raft: $(OUT)/obj/bench/bench_raft.o $(OUT)/libraftcore.a $(OUT)/libwal.a
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LINK) -o $@ $^ $(LIBS)
$(OUT)/raft_counter: $(OUT)/obj/tools/example/raft_counter.o $(OUT)/libraftcore.a $(OUT)/libwal.a
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LINK) -o $@ $^ $(LIBS)
# The public library, and the format beside it, whose names the library hides.
$(OUT)/waldump: $(WALDUMP_OBJECTS) $(WALDUMP_RAFT_OBJECTS) $(OUT)/obj/wal/format.o $(OUT)/obj/wal/hash.o $(OUT)/libwal.a
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LINK) -o $@ $^ $(LIBS)

# --- tests ---
$(OUT)/walbench-parts.a: $(WALBENCH_PARTS:%.c=$(OUT)/obj/%.o)
	$(Q)rm -f $@ && ar rcs $@ $^
$(OUT)/waldump-parts.a: $(WALDUMP_PARTS:%.c=$(OUT)/obj/%.o) $(WALDUMP_RAFT_OBJECTS)
	$(Q)rm -f $@ && ar rcs $@ $^
$(TEST_PROGRAMS): $(OUT)/%: $(OUT)/obj/tests/%.o $(FIXTURE_OBJECTS) $(HELPER_OBJECTS) $(OUT)/waldump-parts.a $(OUT)/walbench-parts.a $(OUT)/libraftcore-tests.a $(OUT)/libwal-tests.a
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LINK) -o $@ $^ $(LIBS) -lcmocka -lm
$(RAFT_TEST_PROGRAMS): $(OUT)/%: $(OUT)/obj/tests/raft/%.o $(RAFT_HELPER_OBJECTS) $(OUT)/libraftcore-tests.a
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LINK) -o $@ $^ -lcmocka
$(RAFT_RIGS): $(OUT)/raft_%: $(OUT)/obj/tests/raft/%.o $(RAFT_HELPER_OBJECTS) $(OUT)/libraftcore-tests.a
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LINK) -o $@ $^
$(RAFTSCRIPT): $(OUT)/obj/tests/raft/script.o $(RAFT_HELPER_OBJECTS) $(OUT)/libraftcore-tests.a
	$(call say,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(LINK) -o $@ $^
$(RAFTSIM): $(OUT)/obj/tests/sim/raftsim.o $(SIM_HELPER_OBJECTS) $(OUT)/libraftcore-tests.a $(OUT)/libwal-tests.a
	$(call say,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(LINK) -o $@ $^ $(LIBS)
$(SIM_TEST_PROGRAMS): $(OUT)/%: $(OUT)/obj/tests/sim/%.o $(SIM_FIXTURE_OBJECTS) $(SIM_HELPER_OBJECTS) $(OUT)/libraftcore-tests.a $(OUT)/libwal-tests.a
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LINK) -o $@ $^ $(LIBS) -lcmocka
$(OUT)/zoo_sim: $(OUT)/zoo/tests/sim/zoo.o $(OUT)/zoo/tests/seed_hunt.o $(SIM_HELPERS:%.c=$(OUT)/zoo/%.o) $(RAFTCORE_ZOO_OBJECTS) $(RAFTNODE:%=$(OUT)/zoo/raftcore/%.o) $(OUT)/libwal-tests.a
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LINK) -o $@ $^ $(LIBS)
$(OUT)/zoo_raft: $(OUT)/zoo/tests/raft/zoo.o $(OUT)/zoo/tests/seed_hunt.o $(RAFT_HELPERS:%.c=$(OUT)/zoo/%.o) $(RAFTCORE_ZOO_OBJECTS)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LINK) -o $@ $^
$(REPLAYS): $(OUT)/replay_%: tests/fuzz_%.c $(HELPER_OBJECTS) $(OUT)/waldump-parts.a $(OUT)/libwal-tests.a $(OUT)/libraftcore-tests.a
	$(call say,LINK,$@)
	$(Q)$(COMPILE) -DFUZZ_REPLAY -o $@ $< $(HELPER_OBJECTS) $(OUT)/waldump-parts.a $(OUT)/libwal-tests.a $(OUT)/libraftcore-tests.a $(LINK) $(LIBS)
$(OUT)/crash_wal: $(CRASH:%.c=$(OUT)/obj/%.o) $(HELPER_OBJECTS) $(OUT)/libwal-tests.a
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LINK) -o $@ $^ $(LIBS)
$(OUT)/kill_wal: $(KILL:%.c=$(OUT)/points/%.o) $(POINT_OBJECTS)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LINK) -o $@ $^ $(LIBS)
$(OUT)/zoo_wal: $(ZOO:%.c=$(OUT)/zoo/%.o) $(CRASH_HELPERS:%.c=$(OUT)/zoo/%.o) $(HELPERS:%.c=$(OUT)/zoo/%.o) $(ZOO_OBJECTS)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LINK) -o $@ $^ $(LIBS)

RIGS := $(if $(wildcard tests/crash_wal.c),$(OUT)/crash_wal) $(if $(KILL),$(OUT)/kill_wal)
test: $(OUT)/.setup-test all $(TEST_PROGRAMS) $(RAFT_TEST_PROGRAMS) $(SIM_TEST_PROGRAMS) $(REPLAYS) $(RIGS) $(RAFT_RIGS) $(RAFTSCRIPT) $(RAFTSIM)
	@mkdir -p build/tmp
	@OUT=$(OUT) COUNT=$(COUNT) KILLS=$(KILLS) SEED=$(SEED) SEEDS=$(SEEDS) STATES=$(STATES) SIMS=$(SIMS) ONLY='$(ONLY)' EXCEPT='$(EXCEPT)' CC='$(CC)' sh tests/run_tests.sh

crash: $(OUT)/crash_wal
	$(OUT)/crash_wal --count $(COUNT) --seed $(SEED)
kill: $(OUT)/kill_wal
	$(OUT)/kill_wal --kills $(KILLS) --seed $(SEED)
zoo: $(OUT)/.setup-test $(OUT)/zoo_wal $(OUT)/zoo_raft $(OUT)/zoo_sim
	@$(OUT)/zoo_wal && $(OUT)/zoo_raft && $(OUT)/zoo_sim
# The same objects for all of them, by clang, with counters for the fuzzer.
FUZZED := $(HELPERS) $(WALDUMP_PARTS) $(LIBRARY:%=wal/%.c) $(patsubst %,raftcore/%.c,$(sort $(RAFTCORE) $(WALDUMP_RAFT)))
FUZZ_FLAGS := -g -O1 -std=c11 -I. -fsanitize=address,undefined -fno-sanitize-recover=all -pthread
build/fuzz/obj/%.o: %.c | $(OUT)/.setup-fuzz
	@mkdir -p $(@D)
	$(Q)clang $(FUZZ_FLAGS) -MMD -MP -fsanitize=fuzzer-no-link -c -o $@ $<
build/fuzz/run_%: build/fuzz/obj/tests/fuzz_%.o $(FUZZED:%.c=build/fuzz/obj/%.o)
	$(call say,LINK,$@)
	$(Q)clang $(FUZZ_FLAGS) -fsanitize=fuzzer -o $@ $^ $(LIBS)
fuzz: $(OUT)/.setup-fuzz $(FUZZ_NAMES:%=fuzz-%)
fuzz-%: build/fuzz/run_%
	@mkdir -p build/fuzz/$*
	@if build/fuzz/run_$* -max_total_time=$(SECONDS) -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 \
	    -artifact_prefix=build/fuzz/found-$*- build/fuzz/$* tests/corpus/$* >build/fuzz/$*.log 2>&1; \
	then printf '%-10s %s\n' $* "$$(grep -a '^Done' build/fuzz/$*.log)"; \
	else tail -n 60 build/fuzz/$*.log; echo "fuzz-$*: FAILED; the input is build/fuzz/found-$*-*"; exit 1; fi

# What a durable update costs on this disk, and what group commit makes of it. DIR= says where.
bench: $(OUT)/walbench
	@$(OUT)/walbench $(or $(DIR),.)
# The floors that this log is held to, against fio on the same disk.
bench-commit: $(OUT)/.setup-bench $(OUT)/bench_commit
	@$(OUT)/bench_commit $(if $(DIR),--dir $(DIR))
# What the Raft core costs by itself.
bench-raft: $(OUT)/bench_raft
	@$(OUT)/bench_raft
# The same work on what people use instead; installs their packages, and says so.
PEERS := $(patsubst bench/peers/peer_%.c,$(OUT)/peers/peer_%,$(wildcard bench/peers/peer_*.c))
$(OUT)/peers/peer_plain: PEER_LIBS :=
$(OUT)/peers/peer_rocksdb: PEER_LIBS := -lrocksdb
$(OUT)/peers/peer_sqlite: PEER_LIBS := -lsqlite3
$(OUT)/peers/peer_lmdb: PEER_LIBS := -llmdb
$(OUT)/peers/peer_raft: PEER_LIBS := -lraft -luv
$(OUT)/peers/peer_%: $(OUT)/obj/bench/peers/peer_%.o $(OUT)/obj/bench/peers/peer.o
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LINK) -o $@ $^ $(PEER_LIBS)
$(OUT)/obj/bench/peers/peer_raft.o: CPPFLAGS += -DPEER_RAFT_VERSION='"$(shell pkg-config --modversion raft 2>/dev/null)"'
$(PEERS:$(OUT)/peers/%=$(OUT)/obj/bench/peers/%.o): | $(OUT)/.setup-peers
peers: $(OUT)/.setup-peers $(PEERS)
bench-peers: $(OUT)/.setup-bench peers $(OUT)/walbench
	@$(OUT)/walbench peers $(or $(DIR),.)

tidy: $(OUT)/.setup-tidy
	python3 tests/tidy.py --self-test
	python3 tests/tidy.py
format: $(OUT)/.setup-tidy
	clang-format -i $$(find wal raftcore bench tests tools -name "*.[ch]")

install: all
	install -d $(DESTDIR)$(PREFIX)/include/wal $(DESTDIR)$(LIBDIR)/pkgconfig
	install -m 644 wal/wal.h wal/io.h $(DESTDIR)$(PREFIX)/include/wal
	install -m 644 $(OUT)/libwal.a $(DESTDIR)$(LIBDIR)
	install -d $(DESTDIR)$(PREFIX)/include/raftcore
	install -m 644 raftcore/raftcore.h raftcore/codec.h raftcore/node.h raftcore/disk.h $(DESTDIR)$(PREFIX)/include/raftcore
	install -m 644 $(OUT)/libraftcore.a $(DESTDIR)$(LIBDIR)
	install -m 755 $(OUT)/libraftcore.so.$(VERSION) $(DESTDIR)$(LIBDIR)
	ln -sf libraftcore.so.$(VERSION) $(DESTDIR)$(LIBDIR)/libraftcore.so.$(SOVERSION)
	ln -sf libraftcore.so.$(SOVERSION) $(DESTDIR)$(LIBDIR)/libraftcore.so
	sed -e 's|@PREFIX@|$(PREFIX)|; s|@LIBDIR@|$(LIBDIR)|; s|@VERSION@|$(VERSION)|' raftcore/libraftcore.pc.in >$(DESTDIR)$(LIBDIR)/pkgconfig/libraftcore.pc
	install -m 755 $(OUT)/libwal.so.$(VERSION) $(DESTDIR)$(LIBDIR)
	ln -sf libwal.so.$(VERSION) $(DESTDIR)$(LIBDIR)/libwal.so.$(SOVERSION)
	ln -sf libwal.so.$(SOVERSION) $(DESTDIR)$(LIBDIR)/libwal.so
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/share/bash-completion/completions
	install -m 755 $(TOOLS) $(OUT)/walbench $(DESTDIR)$(PREFIX)/bin
	install -d $(DESTDIR)$(PREFIX)/share/doc/libwal
	install -m 644 wal/FORMAT.md $(DESTDIR)$(PREFIX)/share/doc/libwal
	install -m 644 tools/waldump.1 bench/walbench.1 $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 644 tools/waldump.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/waldump
	install -m 644 bench/walbench.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/walbench
	sed -e 's|@PREFIX@|$(PREFIX)|; s|@LIBDIR@|$(LIBDIR)|; s|@VERSION@|$(VERSION)|' wal/libwal.pc.in >$(DESTDIR)$(LIBDIR)/pkgconfig/libwal.pc

clean:
	rm -rf build

help:
	@echo 'make               static and shared library, tools and bench programs, into build/ (V=1 shows commands)'
	@echo 'make test          all tests; SAN=address,undefined or SAN=thread; ONLY=name for one, EXCEPT= names for all but those;'
	@echo '                   COUNT= images, KILLS= kills, SEEDS= STATES= SIMS= for the core'
	@echo 'make bench         what a durable update costs here (DIR= where)'
	@echo 'make bench-peers   the same work on RocksDB, SQLite, LMDB and libraft; installs them'
	@echo 'make bench-commit  the floors that this log is held to, against fio'
	@echo 'make bench-raft    what the Raft core costs by itself'
	@echo 'make crash kill    the crash explorer, the kill -9 rig alone: COUNT= KILLS= SEED='
	@echo 'make zoo           every seeded bug, and what catches it'
	@echo 'make fuzz          libFuzzer on every decoder: SECONDS= each'
	@echo 'make tidy format   house rules; layout'
	@echo 'make install       PREFIX= LIBDIR= DESTDIR='

-include $(shell find build -name '*.d' 2>/dev/null)
