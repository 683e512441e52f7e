-- When pg_cron starts a job. The schedule is read as the installed pg_cron reads it, in the time zone that it uses.

-- pg_cron takes a name such as CET for a time zone with summer time, while AT TIME ZONE takes it for the abbreviation of a fixed
-- offset. These four names have both meanings.
CREATE FUNCTION wee5_cron.cron_clock() RETURNS text
  LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  zone constant text := coalesce(wee5_cron.server_setting('cron.timezone'), 'GMT');
BEGIN
  RETURN CASE upper(zone COLLATE "C") WHEN 'CET' THEN 'Europe/Brussels' WHEN 'MET' THEN 'Europe/Brussels'
                                      WHEN 'EET' THEN 'Europe/Athens' WHEN 'WET' THEN 'Europe/Lisbon' ELSE zone END;
END
$$;
COMMENT ON FUNCTION wee5_cron.cron_clock() IS 'Internal: the time zone in which pg_cron reads schedules';

-- The version of pg_cron that brought cron.launch_active_jobs also brought '$'. The one that brought cron.timezone also brought
-- 'N seconds'.
CREATE FUNCTION wee5_cron.read_schedule(
    schedule text, OUT readable boolean, OUT minutes bigint, OUT hours bigint, OUT days bigint, OUT months bigint,
    OUT weekdays bigint, OUT any_of_days boolean, OUT on_last_day boolean, OUT at_reboot boolean, OUT interval_seconds int)
  LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  SELECT r.* INTO readable, minutes, hours, days, months, weekdays, any_of_days, on_last_day, at_reboot, interval_seconds
  FROM wee5_cron.read_cron_schedule(schedule, wee5_cron.server_setting('cron.launch_active_jobs') IS NOT NULL,
                                    wee5_cron.server_setting('cron.timezone') IS NOT NULL) r;
END
$$;
COMMENT ON FUNCTION wee5_cron.read_schedule(text) IS 'Internal: what the installed pg_cron reads in a schedule';

CREATE FUNCTION wee5_cron.shares_ticks(schedule text) RETURNS boolean
  LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT r.readable AND r.interval_seconds IS NULL FROM wee5_cron.read_schedule(schedule) r $$;
COMMENT ON FUNCTION wee5_cron.shares_ticks(text) IS
  'Internal: whether a schedule has ticks that several runs share: it is readable, and not ''N seconds''';

CREATE FUNCTION wee5_cron.minute_start(at bigint) RETURNS bigint
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT at - (at % 60 + 60) % 60 $$;
COMMENT ON FUNCTION wee5_cron.minute_start(bigint) IS 'Internal: the first second of the minute of a Unix time';

CREATE FUNCTION wee5_cron.ticks(schedule text, after timestamptz, count int, last_start timestamptz DEFAULT NULL,
                                until timestamptz DEFAULT NULL)
  RETURNS timestamptz[]
  LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  most constant int := 100000;
  zone constant text := wee5_cron.cron_clock();
  after_s bigint;
  until_s bigint;
  tick bigint;
  found timestamptz[] := '{}';
  r record;
BEGIN
  IF schedule IS NULL OR count IS NULL OR NOT isfinite(after) IS NOT FALSE THEN
    RETURN NULL;
  END IF;
  SELECT * INTO r FROM wee5_cron.read_schedule(schedule);
  IF NOT r.readable THEN
    RETURN NULL;
  END IF;
  after_s := wee5_cron.unix_seconds(after);
  until_s := CASE WHEN isfinite(until) THEN wee5_cron.unix_seconds(until) ELSE 9223372036854775807 END;
  tick := CASE WHEN r.interval_seconds IS NULL THEN after_s
               ELSE greatest(wee5_cron.unix_seconds(last_start) + r.interval_seconds, after_s) END;
  tick := CASE WHEN r.interval_seconds IS NOT NULL AND last_start IS NULL THEN after_s + r.interval_seconds ELSE tick END;
  FOR n IN 1 .. least(count, most) LOOP
    IF r.interval_seconds IS NULL THEN
      tick := wee5_cron.find_tick(wee5_cron.minute_start(tick) + 60, 1, zone, r.minutes, r.hours, r.days, r.months, r.weekdays,
                                  r.any_of_days, r.on_last_day);
    ELSIF n > 1 THEN
      tick := tick + r.interval_seconds;
    END IF;
    EXIT WHEN tick IS NULL;
    found := found || to_timestamp(tick);
    EXIT WHEN tick > until_s;
  END LOOP;
  RETURN found;
END
$$;
COMMENT ON FUNCTION wee5_cron.ticks(text, timestamptz, int, timestamptz, timestamptz) IS
  'Internal: the next times, at most count, at which pg_cron starts a job of this schedule; NULL if pg_cron does not understand it. ''N seconds'' counts from last_start. If until is given, the list ends with the first tick after it';

CREATE FUNCTION wee5_cron.newest_tick(schedule text, at timestamptz) RETURNS timestamptz
  LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  r record;
BEGIN
  IF schedule IS NULL OR isfinite(at) IS NOT TRUE THEN
    RETURN NULL;
  END IF;
  SELECT * INTO r FROM wee5_cron.read_schedule(schedule);
  RETURN CASE WHEN r.readable THEN to_timestamp(wee5_cron.find_tick(wee5_cron.minute_start(wee5_cron.unix_seconds(at)), -1,
    wee5_cron.cron_clock(), r.minutes, r.hours, r.days, r.months, r.weekdays, r.any_of_days, r.on_last_day)) END;
END
$$;
COMMENT ON FUNCTION wee5_cron.newest_tick(text, timestamptz) IS
  'Internal: the newest minute, not after at, in which pg_cron starts a job of this schedule; NULL if there is none';

CREATE FUNCTION wee5_cron.never_fires(schedule text, after timestamptz) RETURNS boolean
  LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  r record;
BEGIN
  IF schedule IS NULL OR isfinite(after) IS NOT TRUE THEN
    RETURN NULL;
  END IF;
  SELECT * INTO r FROM wee5_cron.read_schedule(schedule);
  RETURN CASE WHEN r.readable THEN r.interval_seconds IS NULL AND NOT r.at_reboot
    AND wee5_cron.find_tick(wee5_cron.minute_start(wee5_cron.unix_seconds(after)) + 60, 1, wee5_cron.cron_clock(), r.minutes,
                            r.hours, r.days, r.months, r.weekdays, r.any_of_days, r.on_last_day) IS NULL END;
END
$$;
COMMENT ON FUNCTION wee5_cron.never_fires(text, timestamptz) IS
  'Internal: whether pg_cron accepts the schedule but starts no job by it in the next 40 years, as for 30 February; NULL if pg_cron does not understand it';
