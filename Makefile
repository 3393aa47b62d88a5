# Files to distribute. Building for oneself is `cargo build --release`; the checks are `make -C tests`.

VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
TARGET := $(or $(CARGO_TARGET_DIR),target)
DIST ?= dist
ARCHS ?= x86_64 aarch64
KINDS ?= deb rpm
HOST := $(shell uname -m)
# Variables for cargo, NAME=VALUE each. The tests save the optimisation.
CARGO_ENV ?=
# A folder with binaries to pack, laid out as cargo's target folder. Nothing is compiled then. The tests save a compilation.
BINARIES ?=
# The most bytes of an optimised binary. Change it on purpose only.
MOST_BYTES := 16500000
TARBALLS := $(ARCHS:%=$(DIST)/backup_manager-$(VERSION)-%-linux.tar.gz)
STEM = $(DIST)/backup_manager-$(VERSION)-$*-linux
BUILT = $(or $(BINARIES),$(TARGET))/$(1)-unknown-linux-gnu/release/backup_manager
# Without a commit to take the time from, tarballs say 1970; they never say when they were packed.
SOURCE_DATE_EPOCH ?= $(or $(shell git log -1 --format=%ct 2>/dev/null),0)

.DELETE_ON_ERROR:
.PHONY: help dist helpers clean tools binaries empty

## help: these lines
help:
	@sed -n 's/^## //p' Makefile

## dist: fully static binaries, tarballs, packages, sha256 sums; ARCHS="x86_64" and KINDS="deb" for some only
dist: $(TARBALLS)
	cd $(DIST) && sha256sum *backup*manager* >SHA256SUMS
	@cat $(DIST)/SHA256SUMS

## helpers: the static binaries for the image to copy to remote hosts (REMOTE_HELPER=install), into deploy/helpers
helpers: binaries
	mkdir -p deploy/helpers
	$(foreach arch,$(ARCHS),cp $(call BUILT,$(arch)) deploy/helpers/backup_manager-$(arch)-linux && ) true

## clean: remove what dist made
clean:
	rm -rf $(DIST) deploy/helpers

# Names every tool that is missing, before anything is built or removed.
tools:
	@ARCHS="$(ARCHS)" KINDS="$(KINDS)" bash deploy/packages/tools.sh

# This machine's binary is built in any case: it writes the completions and the manual pages.
BUILD = RUSTFLAGS="-C target-feature=+crt-static" \
	$(if $(filter-out x86_64,$(HOST)),CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER=x86_64-linux-gnu-gcc) \
	$(if $(filter-out aarch64,$(HOST)),CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc) \
	$(CARGO_ENV) cargo build --release --locked --bin backup_manager
# One call for all lets cargo build them at the same time.
binaries: tools
	$(if $(BINARIES),,$(BUILD) $(patsubst %,--target %-unknown-linux-gnu,$(HOST) $(filter-out $(HOST),$(ARCHS))))
ifeq ($(CARGO_ENV),)
	@for file in $(foreach arch,$(ARCHS),$(call BUILT,$(arch))); do \
	  size=$$(stat -c %s "$$file") && [ "$$size" -lt $(MOST_BYTES) ] || \
	    { echo "make dist: $$file has $$size bytes, the limit is $(MOST_BYTES) (MOST_BYTES in Makefile)" >&2; exit 1; }; \
	done
endif

# What an earlier build left stays until there is something to replace it with.
empty: binaries
	rm -rf $(DIST)
	mkdir -p $(DIST)

$(TARBALLS): $(DIST)/backup_manager-$(VERSION)-%-linux.tar.gz: empty
	mkdir -p $(STEM)/completions $(STEM)/man $(STEM)/libexec/backup_manager
	for shell in bash zsh fish; do \
	  $(call BUILT,$(HOST)) completions $$shell >$(STEM)/completions/backup_manager.$$shell || exit; \
	done
	$(call BUILT,$(HOST)) man --dir $(STEM)/man
	cp -R README.md ARCHITECTURE.md CHANGELOG.md CONTRIBUTING.md RELIABILITY.md SECURITY.md LICENSE-APACHE LICENSE-MIT docs \
	  backup_manager.example.toml docker-compose.yml deploy $(STEM)/
	rm -rf $(STEM)/deploy/packages $(STEM)/deploy/helpers
	cp $(call BUILT,$*) $(STEM)/
	$(foreach arch,$(filter-out $*,$(ARCHS)),cp $(call BUILT,$(arch)) $(STEM)/libexec/backup_manager/backup_manager-$(arch)-linux && ) \
	ln $(STEM)/backup_manager $(STEM)/libexec/backup_manager/backup_manager-$*-linux
	tar -C $(DIST) --sort=name --owner=0 --group=0 --numeric-owner --mtime=@$(SOURCE_DATE_EPOCH) \
	  -czf $@ $(notdir $(STEM))
	SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) bash deploy/packages/build.sh $(STEM) $* $(VERSION) $(DIST) $(KINDS)
	rm -r $(STEM)
	cp $(call BUILT,$*) $(STEM)
