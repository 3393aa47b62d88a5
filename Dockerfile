# The image ism1/backup_manager: `docker build -t ism1/backup_manager .`, or `docker compose build`.
# The classic builder and BuildKit both build it: no RUN --mount, no COPY --chmod, no heredocs.

FROM rust:1-bookworm AS build
WORKDIR /src
# Cargo reads these: a build with LTO=off, 16 units and level 1 takes a fraction of the time, for a slower and larger program.
ARG CARGO_PROFILE_RELEASE_LTO=fat
ARG CARGO_PROFILE_RELEASE_CODEGEN_UNITS=1
ARG CARGO_PROFILE_RELEASE_OPT_LEVEL=3
COPY . .
# Cargo needs every member of the workspace. .dockerignore excludes the sources of the one for tests.
RUN mkdir -p fixtures/src && touch fixtures/src/lib.rs \
    && cargo build --release --locked --bin backup_manager \
    && mv target/release/backup_manager / \
    && rm -rf target

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

# Where nothing is mounted at /backups, an anonymous volume keeps the snapshots after the container ended. The daemon warns.
VOLUME ["/config", "/backups"]
ENV BACKUPS_DIR=/backups

# Unhealthy: the newest snapshot is too old, or several runs in a row failed.
HEALTHCHECK --interval=1m --timeout=30s --start-period=1m --retries=3 \
    CMD ["backup_manager", "status", "--check"]

STOPSIGNAL SIGTERM
ENTRYPOINT ["backup_manager"]
CMD ["daemon"]
