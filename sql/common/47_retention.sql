-- Retention. Calls that succeeded are kept for wee5_cron.keep_succeeded, all others that have ended for
-- wee5_cron.keep_failed. A row of wee5_cron.endpoint can say otherwise for its path. The newest run and the newest success of
-- each job stay longer. So do those of each route that is called by hand, for ten times wee5_cron.keep_failed: if ids are part
-- of the route, there is no end of routes. The worker prunes by itself, a few hundred rows per transaction, whenever the time
-- of the oldest row is over.
--
-- There is no index for it, which would cost every call. Ids ascend roughly with time, so prune() walks the ledger from
-- its beginning to where the rows are too young. The next walk meets only the rows again that stay longer. Where a policy
-- lets calls go earlier than the settings do, the worker walks the younger part separately, from where it last stopped.

-- The rows that stay although their time is over. The worker learns them by reading each call once, up to the highest
-- run_id. A call that ended after the worker passed it is added when its time is over. Logged, because to learn them again
-- after a crash would take hours with a long ledger.
CREATE TABLE wee5_cron.newest_call (
  route text COLLATE "C",
  job_name text COLLATE "C",
  run_id bigint NOT NULL,
  success_id bigint,
  PRIMARY KEY (route, job_name)
);
COMMENT ON TABLE wee5_cron.newest_call IS
  'Internal: the calls that prune() keeps: the newest run and the newest success of each job, whatever the route (route is empty), and of each route called by hand (job_name is empty)';

-- What a restore brought may be out of bounds: then the settings hold. Whatever a policy says, a call stays for a minute,
-- so that wait_for() and run() see how it ended.
CREATE FUNCTION wee5_cron.retention_policies(OUT endpoint_path text, OUT keep_succeeded interval, OUT keep_failed interval)
  RETURNS SETOF record
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT e.endpoint_path,
           CASE WHEN e.keep_succeeded BETWEEN '0' AND '36525 days' THEN greatest(e.keep_succeeded, '1 minute') END,
           CASE WHEN e.keep_failed BETWEEN '0' AND '36525 days' THEN greatest(e.keep_failed, '1 minute') END
    FROM wee5_cron.endpoint e
  $$;
COMMENT ON FUNCTION wee5_cron.retention_policies() IS
  'Internal, for prune() and the worker: how long the policies in wee5_cron.endpoint keep calls; NULL: as long as the settings say';

-- fingerprint: changes when a policy does.
CREATE FUNCTION wee5_cron.shortest_policy(OUT shortest interval, OUT fingerprint text)
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT min(least(p.keep_succeeded, p.keep_failed)), hashtextextended(string_agg(p::text, ' ' ORDER BY p.endpoint_path), 0)::text
    FROM wee5_cron.retention_policies() p
    WHERE EXISTS (SELECT FROM wee5_cron.retention_policies() s WHERE s.keep_succeeded IS NOT NULL OR s.keep_failed IS NOT NULL)
  $$;
COMMENT ON FUNCTION wee5_cron.shortest_policy() IS
  'Internal, for prune() and the worker: the shortest time for which a policy keeps calls; NULL: no policy says';

-- The next calls after an id, and when their time is over: expires_at, and for the newest calls of a route that is called
-- by hand newest_expires_at. A call has the policy of its whole path, else that of the path without the query. brief: the
-- policy lets it go earlier than the settings do.
CREATE FUNCTION wee5_cron.lifetimes(after_id bigint, most int, keep_succeeded interval, keep_failed interval, OUT id bigint,
                                    OUT route text, OUT job_name text, OUT requested_at timestamptz,
                                    OUT finished_at timestamptz, OUT expires_at timestamptz,
                                    OUT newest_expires_at timestamptz, OUT brief boolean)
  RETURNS SETOF record
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT i.id, split_part(i.endpoint_path, '?', 1), i.job_name, i.requested_at, i.finished_at,
           i.finished_at + CASE i.status WHEN 'succeeded' THEN k.keep_succeeded ELSE k.keep_failed END,
           CASE WHEN i.job_name IS NULL THEN i.finished_at + 10 * k.keep_failed END,
           coalesce(least(k.keep_succeeded, k.keep_failed) < least($3, $4),
                    least(k.keep_succeeded, k.keep_failed) IS NOT NULL)
    FROM (SELECT c.id, c.endpoint_path, c.job_name, c.status, c.requested_at, c.finished_at
          FROM wee5_cron.invocation c WHERE c.id > after_id ORDER BY c.id LIMIT most) i
    LEFT JOIN wee5_cron.retention_policies() path ON path.endpoint_path = i.endpoint_path COLLATE "C"
    LEFT JOIN wee5_cron.retention_policies() route
      ON path.endpoint_path IS NULL AND route.endpoint_path = split_part(i.endpoint_path, '?', 1) COLLATE "C"
    CROSS JOIN LATERAL (SELECT coalesce(path.keep_succeeded, route.keep_succeeded, $3) AS keep_succeeded,
                               coalesce(path.keep_failed, route.keep_failed, $4) AS keep_failed) k
  $$;
COMMENT ON FUNCTION wee5_cron.lifetimes(bigint, int, interval, interval) IS
  'Internal, for prune() and the worker: when the calls of a part of the ledger expire';

-- Returns the calls that were the newest until now.
CREATE FUNCTION wee5_cron.note_newest_between(after_id bigint, up_to_id bigint) RETURNS bigint[]
  LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
    WITH newest AS MATERIALIZED (
      SELECT CASE WHEN i.job_name IS NULL THEN split_part(i.endpoint_path, '?', 1) ELSE '' END AS route,
             coalesce(i.job_name, '') AS job_name, max(i.id) AS run_id,
             max(i.id) FILTER (WHERE i.status = 'succeeded') AS success_id
      FROM wee5_cron.invocation i
      WHERE i.id > after_id AND i.id <= up_to_id AND i.finished_at IS NOT NULL
      GROUP BY 1, 2
    ), noted AS (
      INSERT INTO wee5_cron.newest_call AS n (route, job_name, run_id, success_id) SELECT * FROM newest
      ON CONFLICT (route, job_name) DO UPDATE
      SET run_id = greatest(n.run_id, excluded.run_id), success_id = greatest(n.success_id, excluded.success_id)
      WHERE excluded.run_id > n.run_id OR excluded.success_id > coalesce(n.success_id, 0)
    )
    SELECT array_agg(replaced.id)
    FROM newest w
    JOIN wee5_cron.newest_call n ON n.route = w.route COLLATE "C" AND n.job_name = w.job_name COLLATE "C"
    CROSS JOIN LATERAL (
      SELECT n.run_id AS id WHERE w.run_id > n.run_id AND n.run_id IS DISTINCT FROM greatest(n.success_id, w.success_id)
      UNION
      SELECT n.success_id WHERE w.success_id > n.success_id
    ) replaced
  $$;
COMMENT ON FUNCTION wee5_cron.note_newest_between(bigint, bigint) IS
  'Internal, for prune() and the worker: learns from a part of the ledger which rows stay, and returns those that need no longer';

CREATE FUNCTION wee5_cron.delete_calls(ids bigint[]) RETURNS bigint
  LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
    WITH attempts AS (
      DELETE FROM wee5_cron.attempt a WHERE a.invocation_id = ANY (ids)
    ), calls AS (
      DELETE FROM wee5_cron.invocation i WHERE i.id = ANY (ids) RETURNING i.id
    )
    SELECT count(*) FROM calls
  $$;
COMMENT ON FUNCTION wee5_cron.delete_calls(bigint[]) IS
  'Internal, for prune() and the worker: deletes calls, with their attempts, and returns how many';

-- A walk passes over the newest call, even if its time is over. If a policy keeps that call for a short time, the next walk
-- begins after it. So this deletes the call as soon as it is no longer the newest.
CREATE FUNCTION wee5_cron.delete_former_newest(ids bigint[]) RETURNS bigint
  LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
    WITH free AS MATERIALIZED (
      SELECT i.id
      FROM unnest(ids) AS former (id)
      CROSS JOIN LATERAL wee5_cron.lifetimes(former.id - 1, 1, NULL, NULL) l
      JOIN wee5_cron.invocation i ON i.id = l.id
      WHERE l.id = former.id AND l.expires_at <= now() AND (SELECT p.shortest FROM wee5_cron.shortest_policy() p) IS NOT NULL
      FOR UPDATE OF i SKIP LOCKED
    )
    SELECT wee5_cron.delete_calls(array_agg(free.id)) FROM free
  $$;
COMMENT ON FUNCTION wee5_cron.delete_former_newest(bigint[]) IS
  'Internal, for prune() and the worker: deletes calls that are no longer the newest, if their policy does not keep them';

-- Reads the next page of calls. left_over: there are more behind it.
CREATE FUNCTION wee5_cron.note_newest_calls(page_size int, INOUT looked_to bigint, OUT left_over boolean, OUT pruned bigint)
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  page record;
BEGIN
  -- If somebody deleted the newest calls, or emptied the ledger, learns everything again. Of very many routes, it looks
  -- at some.
  IF looked_to IS NULL AND EXISTS (
       SELECT FROM (SELECT * FROM wee5_cron.newest_call LIMIT 5000) n
       WHERE NOT EXISTS (SELECT FROM wee5_cron.invocation i WHERE i.id = n.run_id)
          OR n.success_id IS NOT NULL AND NOT EXISTS (SELECT FROM wee5_cron.invocation i WHERE i.id = n.success_id)) THEN
    DELETE FROM wee5_cron.newest_call WHERE true;
  END IF;
  looked_to := coalesce(looked_to, (SELECT max(n.run_id) FROM wee5_cron.newest_call n), 0);
  SELECT count(*) AS calls, max(p.id) AS last INTO page
  FROM (SELECT i.id FROM wee5_cron.invocation i WHERE i.id > looked_to ORDER BY i.id LIMIT page_size) p;
  left_over := page.calls = page_size;
  pruned := 0;
  IF page.calls > 0 THEN
    pruned := wee5_cron.delete_former_newest(wee5_cron.note_newest_between(looked_to, page.last));
    looked_to := page.last;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.note_newest_calls(int, bigint) IS
  'Internal, for prune() and the worker: learns from the next page of calls which rows stay';

-- Deletes what belongs to calls that are gone, because a user may delete rows of the ledger. Attempts are many, so each
-- run looks at a part of them.
CREATE FUNCTION wee5_cron.sweep_attempts(after_id bigint, up_to_id bigint, most int, OUT swept bigint, OUT last_id bigint)
  LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
    WITH orphan AS MATERIALIZED (
      SELECT a.invocation_id, a.attempt FROM wee5_cron.attempt a
      WHERE a.invocation_id > after_id AND a.invocation_id <= coalesce(up_to_id, 9223372036854775807)
        AND NOT EXISTS (SELECT FROM wee5_cron.invocation i WHERE i.id = a.invocation_id)
      ORDER BY a.invocation_id, a.attempt LIMIT most
    ), gone AS (
      DELETE FROM wee5_cron.attempt a USING orphan o
      WHERE a.invocation_id = o.invocation_id AND a.attempt = o.attempt RETURNING a.invocation_id
    )
    SELECT count(*), max(g.invocation_id) FROM gone g
  $$;
COMMENT ON FUNCTION wee5_cron.sweep_attempts(bigint, bigint, int) IS
  'Internal, for prune() and the worker: deletes attempts of calls that are gone';

CREATE FUNCTION wee5_cron.sweep_leftovers(keep_failed interval) RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  path text;
BEGIN
  PERFORM wee5_cron.prune_claims(10000);
  DELETE FROM wee5_cron.cancellation c WHERE NOT EXISTS (SELECT FROM wee5_cron.invocation i WHERE i.id = c.invocation_id);
  DELETE FROM wee5_cron.cron_caller c WHERE NOT EXISTS (SELECT FROM wee5_cron.invocation i WHERE i.id = c.invocation_id);
  DELETE FROM wee5_cron.pg_net_request b WHERE NOT EXISTS (SELECT FROM wee5_cron.invocation i WHERE i.id = b.invocation_id);
  -- Paths that failed, that nobody calls, and that have no call left. After keep_failed, newest_call knows every route
  -- that has a call.
  FOR path IN
    SELECT t.name FROM wee5_cron.trouble t
    WHERE t.kind = 'failing' AND t.since < now() - keep_failed
      AND NOT EXISTS (SELECT FROM wee5_cron.newest_call n WHERE n.route = split_part(t.name, '?', 1))
    LIMIT 100 FOR UPDATE SKIP LOCKED
  LOOP
    CONTINUE WHEN EXISTS (SELECT FROM wee5_cron.known_jobs() j
                          WHERE split_part(j.endpoint_path, '?', 1) = split_part(path, '?', 1)
                             -- A job whose path is not known has its trouble under its own name.
                             OR path IN (j.job_name, '#' || j.jobid))
               OR EXISTS (SELECT FROM wee5_cron.invocation i
                          -- The predicates of the two indexes of unfinished calls.
                          WHERE i.finished_at IS NULL AND (i.next_attempt_at IS NULL OR i.next_attempt_at IS NOT NULL)
                            AND split_part(i.endpoint_path, '?', 1) = split_part(path, '?', 1));
    DELETE FROM wee5_cron.trouble t WHERE t.kind = 'failing' AND t.name = path;
  END LOOP;
END
$$;
COMMENT ON FUNCTION wee5_cron.sweep_leftovers(interval) IS
  'Internal, for prune() and the worker: deletes what other tables hold of calls that are gone';

-- The newest calls of a route that is called by hand do not stay for ever either.
CREATE FUNCTION wee5_cron.forget_old_routes(after_id bigint, most int, keep_succeeded interval, keep_failed interval)
  RETURNS void
  LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
    UPDATE wee5_cron.newest_call n SET success_id = NULL
    FROM wee5_cron.lifetimes(after_id, most, keep_succeeded, keep_failed) l
    WHERE l.newest_expires_at <= now() AND n.route = l.route COLLATE "C" AND n.job_name = '' AND n.success_id = l.id;
    DELETE FROM wee5_cron.newest_call n
    USING wee5_cron.lifetimes(after_id, most, keep_succeeded, keep_failed) l
    WHERE l.newest_expires_at <= now() AND n.route = l.route COLLATE "C" AND n.job_name = '' AND n.run_id = l.id
  $$;
COMMENT ON FUNCTION wee5_cron.forget_old_routes(bigint, int, interval, interval) IS
  'Internal, for prune() and the worker: no longer keeps the newest calls of routes that nobody has called for long';

CREATE FUNCTION wee5_cron.delete_expired(after_id bigint, most int, keep_succeeded interval, keep_failed interval)
  RETURNS bigint
  LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
    WITH free AS MATERIALIZED (
      SELECT i.id
      FROM wee5_cron.lifetimes(after_id, most, keep_succeeded, keep_failed) l
      JOIN wee5_cron.invocation i ON i.id = l.id
      WHERE l.expires_at <= now()
        AND NOT EXISTS (
          SELECT FROM wee5_cron.newest_call n
          WHERE n.route = CASE WHEN l.job_name IS NULL THEN l.route ELSE '' END COLLATE "C"
            AND n.job_name = coalesce(l.job_name, '') COLLATE "C"
            AND l.id IN (n.run_id, n.success_id))
      FOR UPDATE OF i SKIP LOCKED
    )
    SELECT wee5_cron.delete_calls(array_agg(free.id)) FROM free
  $$;
COMMENT ON FUNCTION wee5_cron.delete_expired(bigint, int, interval, interval) IS
  'Internal, for prune() and the worker: deletes the expired calls of a part of the ledger, with their attempts';

-- Deletes the expired calls of the next page. If a time to keep is NULL, calls are kept for ever. The walk ends where all
-- calls are younger than `shortest`. left_over: there may be expired calls behind the page. next_due: when the first of
-- the page's other calls expires. If `shortest` is what a policy says, next_due is about brief calls alone, and
-- first_pending is the first of them that stays for now.
CREATE FUNCTION wee5_cron.prune_page(page_size int, keep_succeeded interval, keep_failed interval, shortest interval,
                                     INOUT walked_to bigint, OUT left_over boolean, OUT pruned bigint,
                                     OUT next_due timestamptz, OUT first_pending bigint)
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  -- A page of 50,000 calls fits, so that temp_file_limit does not matter.
  SET work_mem = '32MB'
  AS $$
DECLARE
  brief_only constant boolean := coalesce(shortest < least(keep_succeeded, keep_failed), true);
  most_orphans constant int := 4 * page_size;
  page record;
  orphans record;
BEGIN
  pruned := 0;
  SELECT count(*) AS calls, max(l.id) AS last, coalesce(bool_or(l.expires_at <= now()), false) AS some_over,
         -- A call ends after it was made: none that was made since then can be over.
         coalesce(bool_or(l.requested_at <= now() - shortest), false) AS some_old,
         min(l.id) FILTER (WHERE l.brief AND (l.expires_at > now() OR l.finished_at IS NULL)) AS first_pending,
         least(min(l.expires_at) FILTER (WHERE l.expires_at > now()),
               min(l.newest_expires_at) FILTER (WHERE l.expires_at <= now() AND l.newest_expires_at > now()),
               min(l.requested_at + shortest) FILTER (WHERE l.finished_at IS NULL AND l.requested_at > now() - shortest)
              ) AS next_due,
         least(min(l.expires_at) FILTER (WHERE l.brief AND l.expires_at > now()),
               min(l.requested_at + shortest)
                 FILTER (WHERE l.brief AND l.finished_at IS NULL AND l.requested_at > now() - shortest)) AS next_brief_due
  INTO page FROM wee5_cron.lifetimes(walked_to, page_size, keep_succeeded, keep_failed) l;
  left_over := page.calls = page_size AND (page.some_old OR page.some_over);
  first_pending := page.first_pending;
  next_due := CASE WHEN NOT brief_only THEN page.next_due
                   -- Behind the page there may be brief calls, all of them younger.
                   WHEN page.calls = page_size AND NOT left_over THEN coalesce(page.next_brief_due, now() + shortest)
                   ELSE page.next_brief_due END;
  IF page.some_over THEN
    pruned := wee5_cron.delete_former_newest(wee5_cron.note_newest_between(walked_to, page.last));
    PERFORM wee5_cron.forget_old_routes(walked_to, page_size, keep_succeeded, keep_failed);
    pruned := pruned + wee5_cron.delete_expired(walked_to, page_size, keep_succeeded, keep_failed);
  END IF;

  orphans := wee5_cron.sweep_attempts(walked_to, CASE WHEN page.calls = page_size THEN page.last END, most_orphans);
  IF orphans.swept = most_orphans THEN
    -- There may be more of them before the rest of the page.
    walked_to := greatest(walked_to, orphans.last_id - 1);
    left_over := true;
    RETURN;
  END IF;
  walked_to := coalesce(page.last, walked_to);
  IF NOT left_over THEN
    PERFORM wee5_cron.sweep_leftovers(keep_failed);
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.prune_page(int, interval, interval, interval, bigint) IS
  'Internal, for prune() and the worker: deletes the expired calls of one page';

-- One session at a time: two would wait for each other's rows of newest_call. The worker does not wait.
CREATE FUNCTION wee5_cron.may_prune() RETURNS boolean
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  LOCK TABLE wee5_cron.newest_call IN SHARE ROW EXCLUSIVE MODE NOWAIT;
  RETURN true;
EXCEPTION WHEN lock_not_available THEN
  RETURN false;
END
$$;
COMMENT ON FUNCTION wee5_cron.may_prune() IS 'Internal, for the worker: whether nobody else prunes the ledger at this moment';

-- -1: for ever.
CREATE FUNCTION wee5_cron.kept_for(setting text) RETURNS interval
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  shown constant text := wee5_cron.setting(setting);
BEGIN
  -- Days are stored as minutes.
  RETURN CASE WHEN shown <> '-1' THEN make_interval(mins => (extract(epoch FROM shown::interval) / 60)::int) END;
END
$$;
COMMENT ON FUNCTION wee5_cron.kept_for(text) IS 'Internal: the value of wee5_cron.keep_succeeded or keep_failed; NULL: for ever';

CREATE FUNCTION wee5_cron.prune() RETURNS bigint
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  keep_succeeded constant interval := wee5_cron.kept_for('keep_succeeded');
  keep_failed constant interval := wee5_cron.kept_for('keep_failed');
  shortest constant interval := least(keep_succeeded, keep_failed, (SELECT p.shortest FROM wee5_cron.shortest_policy() p));
  looked record;
  walked record;
  looked_to bigint;
  walked_to bigint := 0;
  pruned bigint := 0;
  -- Each page updates the rows of newest_call, and each update in one transaction has to pass all versions before it.
  page_size constant int := 50000;
BEGIN
  LOCK TABLE wee5_cron.newest_call IN SHARE ROW EXCLUSIVE MODE;
  LOOP
    looked := wee5_cron.note_newest_calls(page_size, looked_to);
    looked_to := looked.looked_to;
    pruned := pruned + looked.pruned;
    EXIT WHEN NOT looked.left_over;
  END LOOP;
  LOOP
    walked := wee5_cron.prune_page(page_size, keep_succeeded, keep_failed, shortest, walked_to);
    walked_to := walked.walked_to;
    pruned := pruned + walked.pruned;
    EXIT WHEN NOT walked.left_over;
  END LOOP;
  -- The walk ended where calls are too young.
  PERFORM wee5_cron.sweep_attempts(walked_to, NULL, 2147483647);
  PERFORM wee5_cron.prune_claims(2147483647);
  RETURN pruned;
END
$$;
COMMENT ON FUNCTION wee5_cron.prune() IS
  'Deletes expired calls (wee5_cron.keep_succeeded, wee5_cron.keep_failed, or what the policy of their path says) with their attempts, and returns how many. It keeps the newest call and the newest success of each job. Those of paths that no job calls, it keeps for ten times keep_failed. The worker does this on its own';
