-- When pg_cron starts a job. The schedule is read as the installed pg_cron reads it, in the time zone that it uses.

CREATE FUNCTION wee5_cron.read_schedule(
    schedule text, OUT readable boolean, OUT minutes bigint, OUT hours bigint, OUT days bigint, OUT months bigint,
    OUT weekdays bigint, OUT any_of_days boolean, OUT on_last_day boolean, OUT at_reboot boolean, OUT interval_seconds int)
  LANGUAGE c STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_read_schedule';
COMMENT ON FUNCTION wee5_cron.read_schedule(text) IS 'Internal: what the installed pg_cron reads in a schedule';

CREATE FUNCTION wee5_cron.ticks(schedule text, after timestamptz, count int, last_start timestamptz DEFAULT NULL,
                                until timestamptz DEFAULT NULL)
  RETURNS timestamptz[]
  LANGUAGE c STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_ticks';
COMMENT ON FUNCTION wee5_cron.ticks(text, timestamptz, int, timestamptz, timestamptz) IS
  'Internal: the next times, at most count, at which pg_cron starts a job of this schedule; NULL if pg_cron does not understand it. ''N seconds'' counts from last_start. If until is given, the list ends with the first tick after it';

CREATE FUNCTION wee5_cron.newest_tick(schedule text, at timestamptz) RETURNS timestamptz
  LANGUAGE c STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_newest_tick';
COMMENT ON FUNCTION wee5_cron.newest_tick(text, timestamptz) IS
  'Internal: the newest minute, not after at, in which pg_cron starts a job of this schedule; NULL if there is none';

CREATE FUNCTION wee5_cron.never_fires(schedule text, after timestamptz) RETURNS boolean
  LANGUAGE c STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_never_fires';
COMMENT ON FUNCTION wee5_cron.never_fires(text, timestamptz) IS
  'Internal: whether pg_cron accepts the schedule but starts no job by it in the next 40 years, as for 30 February; NULL if pg_cron does not understand it';
