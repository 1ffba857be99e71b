# SPDX-License-Identifier: GPL-2.0-or-later
# Thin over meson: every target is one or two commands that also work by hand.
BUILD  ?= build
ASAN   ?= build-asan
PREFIX ?= /usr/local

.PHONY: all deps build run test soak bench install clean sanitize

all: build

deps:
	@scripts/deps.sh

$(BUILD)/build.ninja: | deps
	meson setup $(BUILD) --prefix=$(PREFIX)

$(ASAN)/build.ninja: | deps
	meson setup $(ASAN) -Db_sanitize=address,undefined -Dbuildtype=debugoptimized

build: deps $(BUILD)/build.ninja
	@ninja -C $(BUILD)

sanitize: deps $(ASAN)/build.ninja
	@ninja -C $(ASAN)

test: build sanitize
	@scripts/run-tests.py --build $(BUILD) --sanitize $(ASAN)

soak: build sanitize
	@scripts/run-tests.py --build $(BUILD) --sanitize $(ASAN) --soak

# The same guest on ours, on Debian's QEMU TCG and natively, in one run. BENCH_GROUPS chooses.
BENCH_DIR    ?= /tmp/vireo-bench
BENCH_GROUPS ?= rom,boot,cpu+fp+branch+mem+sys
BENCH_ROUNDS ?= 3
bench: build
	@[ -f $(BENCH_DIR)/initrd.img ] || bench/mkguest -o $(BENCH_DIR)
	@VIREO_BUILD=$(abspath $(BUILD)) bench/run-bench -d $(BENCH_DIR) -n $(BENCH_ROUNDS) \
	    -g $(BENCH_GROUPS) native qemu-tcg-q35 vireo-microvm

run: build
	@$(BUILD)/vireo run

install: build
	meson configure $(BUILD) --prefix=$(abspath $(PREFIX))
	meson install -C $(BUILD) --no-rebuild

clean:
	rm -rf $(BUILD) $(ASAN)
