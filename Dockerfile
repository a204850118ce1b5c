# The agentapi image: `docker build --tag agentapi .`
# Base images have the same Debian release in both stages, so that the program finds the libc it was linked with.
ARG RUST_VERSION=1.95

FROM rust:${RUST_VERSION}-slim-bookworm AS build
# For the allocator, which is C.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends make \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
# A cargo profile; `dev` builds several times faster and runs slower.
ARG PROFILE=release

# The dependencies get a layer of their own, made from the manifest alone: a change in src/ does not build them again. Targets
# that the manifest lists, such as benchmarks, are not there yet. What this makes of the empty program is removed, or cargo
# would take it for the real one, whose files are older.
COPY Cargo.toml Cargo.lock ./
RUN sed -i '/^\[\[/,/^$/d' Cargo.toml \
    && mkdir src \
    && touch src/lib.rs \
    && echo 'fn main() {}' > src/main.rs \
    && cargo build --locked --profile "${PROFILE}" \
    && cargo clean --package agentapi --profile "${PROFILE}" \
    && rm -r src

COPY . .
RUN cargo install --locked --path . --profile "${PROFILE}" --root /out --no-track

FROM debian:bookworm-slim
# wget asks /status in health checks; the certificates are for rediss:// and for what agents call.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates wget \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 agentapi \
    && useradd --uid 10001 --gid 10001 --create-home --home-dir /var/lib/agentapi --shell /bin/bash agentapi

COPY --from=build /out/bin/agentapi /usr/local/bin/agentapi

ENV AGENTAPI_HOST=0.0.0.0 \
    AGENTAPI_DATA_DIR=/var/lib/agentapi
USER 10001:10001
WORKDIR /var/lib/agentapi
VOLUME /var/lib/agentapi
EXPOSE 3284
HEALTHCHECK --interval=30s --timeout=10s --retries=3 \
    CMD ["wget", "--quiet", "--tries=1", "--timeout=5", "--output-document=/dev/null", "http://localhost:3284/status"]
ENTRYPOINT ["agentapi"]
CMD ["serve"]
