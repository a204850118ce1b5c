#!/usr/bin/env bash
# Makes stand-ins for the public images that the deployment uses, under their names, in the engine of DOCKER_HOST:
#
#   stand-ins.sh FOLDER    (a Debian system as debootstrap makes it)
#
# debian:bookworm-slim is that system. The others are made of Debian's packages, so their versions differ from the public
# images'; what holds them to the images is their interface: names of programs, variables, users, folders, ports.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly here debian=$1

# build NAME [FOLDER]: builds the image of the Dockerfile on standard input.
build() {
    local log
    log=$(docker build --tag "$1" --file - "${2:-$here/stand-ins}" 2>&1) || { echo "$log" >&2 && return 1; }
    echo "stand-in: $1"
}

rm -rf "$debian"/var/cache/apt/archives/*.deb "$debian"/var/lib/apt/lists/*
echo force-unsafe-io >"$debian/etc/dpkg/dpkg.cfg.d/unsafe-io"
tar --create --directory "$debian" --one-file-system . | docker import --change 'CMD ["bash"]' - debian:bookworm-slim >/dev/null
echo "stand-in: debian:bookworm-slim"

build stand-in-services <<'DOCKERFILE'
FROM debian:bookworm-slim
ARG DEBIAN_FRONTEND=noninteractive
RUN mkdir /etc/postgresql-common \
    && echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf \
    && apt-get update \
    && apt-get install --yes --option Dpkg::Options::=--force-confold --no-install-recommends busybox gcc libc6-dev postgresql redis-server \
    && ln -s /usr/bin/redis-cli /usr/bin/redis-server /usr/lib/postgresql/*/bin/* /usr/local/bin/
COPY . /usr/local/bin/
DOCKERFILE

build postgres:16-alpine <<'DOCKERFILE'
FROM stand-in-services
ENV PGDATA=/var/lib/postgresql/data
VOLUME /var/lib/postgresql/data
STOPSIGNAL SIGINT
ENTRYPOINT ["postgres-entrypoint"]
CMD ["postgres"]
DOCKERFILE

build redis:7-alpine <<'DOCKERFILE'
FROM stand-in-services
VOLUME /data
WORKDIR /data
ENTRYPOINT ["redis-entrypoint"]
CMD ["redis-server"]
DOCKERFILE

build redislabs/redisinsight:latest <<'DOCKERFILE'
FROM stand-in-services
RUN useradd --uid 1000 node
USER node
ENTRYPOINT ["redisinsight-entrypoint"]
DOCKERFILE

# The machine's own toolchain without its documentation, and the crates it has fetched.
toolchain=$(cd "$here/../.." && rustc --print sysroot)
context=$(mktemp --directory)
trap 'rm -rf "$context"' EXIT
mkdir "$context/toolchain"
cp --archive --reflink=auto "$toolchain/bin" "$toolchain/lib" "$context/toolchain/"
rm -rf "$context"/toolchain/lib/rustlib/src
cp --archive --reflink=auto "${CARGO_HOME:-$HOME/.cargo}/registry" "$context/"
build "rust:$(sed -n 's/^ARG RUST_VERSION=//p' "$here/../../Dockerfile")-slim-bookworm" "$context" <<'DOCKERFILE'
FROM stand-in-services
COPY toolchain /usr/local/rust
COPY registry /usr/local/cargo/registry
ENV CARGO_HOME=/usr/local/cargo CARGO_NET_OFFLINE=true PATH=/usr/local/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
DOCKERFILE
