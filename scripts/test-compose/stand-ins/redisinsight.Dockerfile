FROM stand-in-services
RUN useradd --uid 1000 node
USER node
ENTRYPOINT ["redisinsight-entrypoint"]
