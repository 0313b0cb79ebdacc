# The upgrade container: one static program, nothing else. Runs as nobody, on a read-only root file system, without
# capabilities. Build from the root of the repository:
#
#   docker build --file deploy/executor.Dockerfile --tag REGISTRY/fleetlift-executor:VERSION .
#
# The same image without an engine, as the tests use it: tests/node/image.
FROM docker.io/library/rust:1.95-bookworm AS build
RUN apt-get update && apt-get install --yes --no-install-recommends cmake && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY Cargo.toml Cargo.lock ./
COPY src src
# Static on the GNU target: no musl toolchain is needed, and one program runs on every node.
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/source/target \
    target=$(rustc -vV | sed -n 's/^host: //p') \
    && RUSTFLAGS='-C target-feature=+crt-static' cargo build --locked --no-default-features --features executor \
        --profile executor --bin fleetlift-executor --target "$target" \
    && cp "target/$target/executor/fleetlift-executor" /fleetlift-executor

FROM scratch
COPY --from=build /fleetlift-executor /usr/local/bin/fleetlift-executor
# Official Jobs give arguments only; the entry point is the program, as in the official images.
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/fleetlift-executor"]
