FROM stand-in-services
VOLUME /data
WORKDIR /data
ENTRYPOINT ["redis-entrypoint"]
CMD ["redis-server"]
