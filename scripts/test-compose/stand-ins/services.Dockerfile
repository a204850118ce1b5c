# What the stand-ins have in common, so that there is one layer of it.
FROM debian:bookworm-slim
ARG DEBIAN_FRONTEND=noninteractive
RUN mkdir /etc/postgresql-common \
    && echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf \
    && apt-get update \
    && apt-get install --yes --no-install-recommends --option Dpkg::Options::=--force-confold \
        busybox gcc libc6-dev postgresql redis-server \
    && ln -s /usr/bin/redis-cli /usr/bin/redis-server /usr/lib/postgresql/*/bin/* /usr/local/bin/
COPY *-entrypoint /usr/local/bin/
