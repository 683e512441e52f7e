CREATE FUNCTION wee5_cron.api_url_parts(api_url text, OUT url text, OUT scheme text, OUT host text, OUT rest text,
                                        OUT private_host boolean, OUT loopback_host boolean)
  LANGUAGE c STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_api_url_parts';
COMMENT ON FUNCTION wee5_cron.api_url_parts(text) IS
  'Internal, for doctor(): the parts of an address, as libcurl reads it. rest is what follows scheme://';

CREATE FUNCTION wee5_cron.plain_http_allowed(host text) RETURNS boolean
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_plain_http_allowed';
COMMENT ON FUNCTION wee5_cron.plain_http_allowed(text) IS
  'Internal, for doctor(): whether wee5_cron.allow_plain_http, as the worker of this database sees it, allows plain http to a host';

CREATE FUNCTION wee5_cron.inside_container() RETURNS text
  LANGUAGE c VOLATILE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_inside_container';
COMMENT ON FUNCTION wee5_cron.inside_container() IS
  'Internal, for doctor(): the sign that the server runs in a container; NULL if there is none';

CREATE FUNCTION wee5_cron.resolve_host(host text, patience_ms int, OUT address text, OUT error text)
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_resolve_host';
COMMENT ON FUNCTION wee5_cron.resolve_host(text, int) IS
  'Internal, for doctor(): the first address that libcurl finds for a host, or why there is none';

CREATE FUNCTION wee5_cron.proxy_shown() RETURNS text
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_proxy_shown';
COMMENT ON FUNCTION wee5_cron.proxy_shown() IS
  'Internal, for doctor(): host and port of wee5_cron.proxy, as the worker of this database sees it, never user or password. NULL: no proxy. 55000 if the setting cannot be read';
