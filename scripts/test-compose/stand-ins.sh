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

# build IMAGE DOCKERFILE CONTEXT
build() {
    local log
    log=$(docker build --tag "$1" --file "$2" "$3" 2>&1) || { echo "$log" >&2 && return 1; }
    echo "stand-in: $1"
}

rm -rf "$debian"/var/cache/apt/archives/*.deb "$debian"/var/lib/apt/lists/*
# dpkg need not wait for the disk at each file.
echo force-unsafe-io >"$debian/etc/dpkg/dpkg.cfg.d/unsafe-io"
tar --create --directory "$debian" --one-file-system . | docker import --change 'CMD ["bash"]' - debian:bookworm-slim >/dev/null
echo "stand-in: debian:bookworm-slim"

cd "$here/stand-ins"
build stand-in-services services.Dockerfile .
build postgres:16-alpine postgres.Dockerfile .
build redis:7-alpine redis.Dockerfile .
build redislabs/redisinsight:latest redisinsight.Dockerfile .

# The machine's own toolchain without documentation and linters, and the crates it has fetched, not unpacked.
toolchain=$(cd "$here/../.." && rustc --print sysroot)
tar --create --exclude=registry/src --exclude='*/share/*' --transform 's,^\./,toolchain/,' rust.Dockerfile \
    --directory "$toolchain" ./bin/cargo ./bin/rustc ./lib --directory "${CARGO_HOME:-$HOME/.cargo}" registry |
    build "rust:$(sed -n 's/^ARG RUST_VERSION=//p' "$here/../../Dockerfile")-slim-bookworm" rust.Dockerfile -
