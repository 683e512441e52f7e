-- Times since 1970, as core counts them. The twin of boundary/unix_time.h in src/pg.

CREATE FUNCTION wee5_cron.unix_us(at timestamptz) RETURNS bigint
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT (extract(epoch FROM at) * 1000000)::bigint $$;
COMMENT ON FUNCTION wee5_cron.unix_us(timestamptz) IS 'Internal: a time in microseconds since 1970';

CREATE FUNCTION wee5_cron.time_of_unix_us(us bigint) RETURNS timestamptz
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT timestamptz '1970-01-01 00:00:00+00' + us / 1000000 * interval '1 second' + us % 1000000 * interval '1 microsecond' $$;
COMMENT ON FUNCTION wee5_cron.time_of_unix_us(bigint) IS 'Internal: the time of so many microseconds since 1970';

-- Whole seconds, cut off towards the year 2000 as in C.
CREATE FUNCTION wee5_cron.unix_seconds(at timestamptz) RETURNS bigint
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT trunc(extract(epoch FROM at) - 946684800)::bigint + 946684800 $$;
COMMENT ON FUNCTION wee5_cron.unix_seconds(timestamptz) IS 'Internal: a time in seconds since 1970';
