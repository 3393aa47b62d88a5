# The image ism1/backup_manager: `docker build -t ism1/backup_manager .`, or `docker compose build`.
# Written for the classic builder and for BuildKit: no RUN --mount, no COPY --chmod, no heredocs.

FROM rust:1-bookworm AS build
WORKDIR /src
COPY . .
# Cargo looks for every member of the workspace; the one for tests is not sent.
RUN mkdir -p fixtures/src && touch fixtures/src/lib.rs \
    && cargo build --release --locked --bin backup_manager \
    && mv target/release/backup_manager / \
    && rm -rf target

FROM debian:bookworm-slim
LABEL org.opencontainers.image.title="backup_manager" \
      org.opencontainers.image.description="Snapshot backups as plain folders: hard links, resume, limited history, SFTP sources" \
      org.opencontainers.image.source="https://github.com/ism1/backup_manager" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"

# ssh for remote sources, and the wrapper for it to start as a user whom no passwd file knows; tzdata for TZ; the
# certificates for HTTPS. /root may be entered, so that keys mounted at /root/.ssh serve `user:` and PUID too.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libnss-wrapper openssh-client tzdata \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/* /var/log/* \
    && chmod 711 /root

COPY --from=build /backup_manager /usr/local/bin/

# Where nothing is mounted at /backups, the snapshots outlive the container in a nameless volume; the daemon warns of it.
VOLUME ["/config", "/backups"]
ENV BACKUPS_DIR=/backups

# The newest snapshot is too old, or runs keep failing: unhealthy.
HEALTHCHECK --interval=1m --timeout=30s --start-period=1m --retries=3 \
    CMD ["backup_manager", "status", "--check"]

STOPSIGNAL SIGTERM
ENTRYPOINT ["backup_manager"]
CMD ["daemon"]
