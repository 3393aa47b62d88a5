# The image ism1/backup_manager: `docker build -t ism1/backup_manager .`, or `docker compose build`.
# The classic builder and BuildKit both build it: no RUN --mount, no COPY --chmod, no heredocs.

# Cargo reads these: a build with LTO=off, 16 units and level 0 takes a fraction of the time, for a slower and larger program.
ARG CARGO_PROFILE_RELEASE_LTO=fat
ARG CARGO_PROFILE_RELEASE_CODEGEN_UNITS=1
ARG CARGO_PROFILE_RELEASE_OPT_LEVEL=s

# Cargo.lock and the manifests, with an empty source for each crate. No change of the sources changes this stage, so a
# build after one takes the next stage from the cache.
FROM debian:bookworm-slim AS manifests
WORKDIR /src
COPY . .
RUN find . -type f ! -name Cargo.toml ! -name Cargo.lock -delete \
    && find . -type d -empty -delete \
    && find . -mindepth 2 -name Cargo.toml -execdir mkdir src ';' -execdir touch src/lib.rs ';' \
    && mkdir src && echo 'fn main() {}' > src/main.rs

# The compiled dependencies. An argument ends with its stage, and the compiled code fits only a build with the same ones.
FROM rust:1-bookworm AS dependencies
WORKDIR /src
ARG CARGO_PROFILE_RELEASE_LTO
ARG CARGO_PROFILE_RELEASE_CODEGEN_UNITS
ARG CARGO_PROFILE_RELEASE_OPT_LEVEL
# The program is fully static, so that it can copy itself to a remote host (REMOTE_HELPER=install). Cargo applies these flags only
# to what is compiled for the named target, not to what runs during the build.
ENV RUSTFLAGS="-C target-feature=+crt-static"
COPY --from=manifests /src .
RUN cargo build --release --locked --bin backup_manager --target "$(rustc -vV | sed -n 's/^host: //p')"

FROM dependencies AS build
ARG CARGO_PROFILE_RELEASE_LTO
ARG CARGO_PROFILE_RELEASE_CODEGEN_UNITS
ARG CARGO_PROFILE_RELEASE_OPT_LEVEL
COPY . .
# The files have the times of the checkout. Cargo compiles only what is newer than the empty sources.
RUN find . -name target -prune -o -name '*.rs' -exec touch {} + \
    && host=$(rustc -vV | sed -n 's/^host: //p') \
    && cargo build --release --locked --bin backup_manager --target "$host" \
    && mv "target/$host/release/backup_manager" / \
    && rm -rf target
# For hosts with another machine than this image the image has what `make helpers` put into deploy/helpers. Building it here would
# double the time of the build.
RUN mkdir -p deploy/helpers && chmod 755 deploy/helpers/* 2>/dev/null; mv deploy/helpers / \
    && ln -sf /usr/local/bin/backup_manager "/helpers/backup_manager-$(uname -m)-linux"

FROM debian:bookworm-slim
LABEL org.opencontainers.image.title="backup_manager" \
      org.opencontainers.image.description="Snapshot backups as plain folders: hard links, resume, limited history, SFTP sources" \
      org.opencontainers.image.source="https://github.com/ism1/backup_manager" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"

# ssh for remote sources; nss_wrapper, so that ssh starts as a user without an entry in /etc/passwd; tzdata for TZ;
# certificates for HTTPS. Other users may enter /root, so that `user:` and PUID can use keys that are mounted at /root/.ssh.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libnss-wrapper openssh-client tzdata \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/* /var/log/* \
    && chmod 711 /root

COPY --from=build /backup_manager /usr/local/bin/
COPY --from=build /helpers/ /usr/libexec/backup_manager/

# Where nothing is mounted at /backups, an anonymous volume keeps the snapshots after the container ended. The daemon warns.
VOLUME ["/config", "/backups"]
ENV BACKUPS_DIR=/backups

# Unhealthy: the newest snapshot is too old, or several runs in a row failed.
HEALTHCHECK --interval=1m --timeout=30s --start-period=1m --retries=3 \
    CMD ["backup_manager", "status", "--check"]

STOPSIGNAL SIGTERM
ENTRYPOINT ["backup_manager"]
CMD ["daemon"]
