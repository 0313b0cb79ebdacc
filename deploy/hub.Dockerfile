# The daemon and its command line. Runs as nobody, on a read-only root file system, without capabilities; what it keeps
# lies in /var/lib/fleetlift. Build from the root of the repository:
#
#   docker build --file deploy/hub.Dockerfile --tag REGISTRY/fleetlift:VERSION .
#
# `deploy/hub/` runs it in a cluster. The same image without an engine, as the tests use it: tests/node/run.
FROM docker.io/library/rust:1.95-bookworm AS build
RUN apt-get update && apt-get install --yes --no-install-recommends cmake && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY Cargo.toml Cargo.lock ./
COPY src src
COPY migrations migrations
COPY fleet-config fleet-config
COPY deploy/edge deploy/edge
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/source/target \
    cargo build --locked --release --bin fleetlift && cp target/release/fleetlift /fleetlift

# The C library and certificate authorities, no shell.
FROM gcr.io/distroless/cc-debian12
COPY --from=build /fleetlift /usr/local/bin/fleetlift
ENV FLEETLIFT_DATA_DIR=/var/lib/fleetlift
USER 65532:65532
EXPOSE 8480
ENTRYPOINT ["/usr/local/bin/fleetlift"]
CMD ["daemon"]
