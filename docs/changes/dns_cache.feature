redis_proxy: ``dns_cache_config``, so that redirections to names are followed; and ``upstream_internal_redirect_*`` are counted.
