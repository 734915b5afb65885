# One image for workers, for the server and for Redis: docs/howto-docker.md says how to use it, compose.yml how
# they go together. Each RUN is one of the scripts in containers/minipach/.

FROM debian:bookworm-slim AS build
WORKDIR /build
COPY containers/minipach/apt.sh containers/minipach/python.sh containers/minipach/
RUN sh containers/minipach/apt.sh ca-certificates python3 python3-venv
# What changes least comes first, so that an edited module costs one short layer.
COPY pyproject.toml constraints.txt ./
RUN sh containers/minipach/python.sh dependencies
COPY LICENSE README.md ./
COPY minipach minipach
RUN sh containers/minipach/python.sh minipach

FROM debian:bookworm-slim
COPY containers/minipach/apt.sh containers/minipach/user.sh /usr/local/lib/minipach/
RUN sh /usr/local/lib/minipach/apt.sh bubblewrap ca-certificates charliecloud-runtime git openssh-client procps python3 \
    redis-server squashfs-tools tini
# Those of the person whose project is mounted.
ARG UID=1000
ARG GID=1000
RUN sh /usr/local/lib/minipach/user.sh "$UID" "$GID"
COPY --from=build /opt/minipach /opt/minipach
COPY containers/minipach/health.py /usr/local/bin/minipach-health
COPY containers/minipach/redis.sh /usr/local/bin/minipach-redis
ENV PATH=/opt/minipach/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin LANG=C.UTF-8 USER=minipach
USER minipach
WORKDIR /home/minipach
# For a worker; Redis has one of its own in compose.yml.
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s --retries=3 CMD ["minipach-health"]
ENTRYPOINT ["tini", "--"]
CMD ["minipach", "worker"]
