CREATE FUNCTION wee5_cron.api_url_parts(api_url text, OUT url text, OUT scheme text, OUT host text, OUT rest text,
                                        OUT private_host boolean, OUT loopback_host boolean)
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT p.url, p.scheme, p.host, substr(p.url, length(p.scheme) + 4), wee5_cron.is_private_host(p.host),
           wee5_cron.is_loopback_host(p.host)
    FROM wee5_cron.parse_api_url(api_url, 'on') p
  $$;
COMMENT ON FUNCTION wee5_cron.api_url_parts(text) IS
  'Internal, for doctor(): the parts of an address, as libcurl reads it. rest is what follows scheme://';

CREATE FUNCTION wee5_cron.plain_http_allowed(host text) RETURNS boolean
  LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT wee5_cron.plain_http_allowed(wee5_cron.setting('allow_plain_http'), host) $$;
COMMENT ON FUNCTION wee5_cron.plain_http_allowed(text) IS
  'Internal, for doctor(): whether wee5_cron.allow_plain_http, as the worker of this database sees it, allows plain http to a host';

CREATE FUNCTION wee5_cron.inside_container() RETURNS text
  LANGUAGE sql VOLATILE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT NULL $$;
COMMENT ON FUNCTION wee5_cron.inside_container() IS
  'Internal, for doctor(): the sign that the server runs in a container; NULL if there is none';

CREATE FUNCTION wee5_cron.resolve_host(host text, patience_ms int, OUT address text, OUT error text)
  LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT NULL, 'not looked up: pg_net does that when it sends' $$;
COMMENT ON FUNCTION wee5_cron.resolve_host(text, int) IS
  'Internal, for doctor(): the first address that libcurl finds for a host, or why there is none';

CREATE FUNCTION wee5_cron.proxy_shown() RETURNS text
  LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT NULL $$;
COMMENT ON FUNCTION wee5_cron.proxy_shown() IS
  'Internal, for doctor(): host and port of wee5_cron.proxy, as the worker of this database sees it, never user or password. NULL: no proxy. 55000 if the setting cannot be read';
