# Files to distribute. Building for oneself is `cargo build --release`; the checks are `make -C tests`.

VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
TARGET := $(or $(CARGO_TARGET_DIR),target)
DIST ?= dist
ARCHS ?= x86_64 aarch64
HOST := $(shell uname -m)
PACKAGES := $(ARCHS:%=$(DIST)/backup_manager-$(VERSION)-%-linux.tar.gz)
STEM = $(DIST)/backup_manager-$(VERSION)-$*-linux
BUILT = $(TARGET)/$(1)-unknown-linux-gnu/release/backup_manager
# Without a commit to take the time from, tarballs say 1970; they never say when they were packed.
SOURCE_DATE_EPOCH ?= $(or $(shell git log -1 --format=%ct 2>/dev/null),0)

.DELETE_ON_ERROR:
.PHONY: help dist clean std binaries

## help: these lines
help:
	@sed -n 's/^## //p' Makefile

## dist: fully static binaries, tarballs with completions and manual page, sha256 sums; ARCHS="x86_64" for some only
dist: $(PACKAGES)
	cd $(DIST) && sha256sum backup_manager-* >SHA256SUMS
	@cat $(DIST)/SHA256SUMS

clean:
	rm -rf $(DIST)
	mkdir -p $(DIST)

# Says what is missing before anything is built.
std:
	@for arch in $(filter-out $(HOST),$(ARCHS)); do \
	  missing() { echo "make dist: $$1; leave $$arch out with ARCHS=$(HOST)" >&2; exit 1; }; \
	  target=$$arch-unknown-linux-gnu; \
	  [ -d "$$(rustc --print target-libdir --target $$target)" ] || rustup target add $$target || \
	    missing "this toolchain has no standard library for $$target"; \
	  command -v $$arch-linux-gnu-gcc >/dev/null || \
	    missing "no $$arch-linux-gnu-gcc to link with (Debian: gcc-$$arch-linux-gnu)"; \
	done

# This machine's binary is built in any case: it writes the completions and the manual page.
binaries: std
	RUSTFLAGS="-C target-feature=+crt-static" \
	$(if $(filter-out x86_64,$(HOST)),CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER=x86_64-linux-gnu-gcc) \
	$(if $(filter-out aarch64,$(HOST)),CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc) \
	cargo build --release --locked --bin backup_manager \
	  $(patsubst %,--target %-unknown-linux-gnu,$(sort $(ARCHS) $(HOST)))

$(PACKAGES): $(DIST)/backup_manager-$(VERSION)-%-linux.tar.gz: clean binaries
	mkdir -p $(STEM)/completions
	for shell in bash zsh fish; do \
	  $(call BUILT,$(HOST)) completions $$shell >$(STEM)/completions/backup_manager.$$shell || exit; \
	done
	$(call BUILT,$(HOST)) man >$(STEM)/backup_manager.1
	cp -R README.md CHANGELOG.md RELIABILITY.md SECURITY.md LICENSE-APACHE LICENSE-MIT docs \
	  backup_manager.example.toml deploy $(STEM)/
	cp $(call BUILT,$*) $(STEM)/
	tar -C $(DIST) --sort=name --owner=0 --group=0 --numeric-owner --mtime=@$(SOURCE_DATE_EPOCH) \
	  -czf $@ $(notdir $(STEM))
	rm -r $(STEM)
	cp $(call BUILT,$*) $(STEM)
