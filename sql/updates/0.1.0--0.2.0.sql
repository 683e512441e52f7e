-- wee5_cron 0.1.0 to 0.2.0. `make` puts the functions, views and comments of the topic files where this file says
-- "the functions of this version".
\echo Use "ALTER EXTENSION wee5_cron UPDATE" to load this file. \quit

-- The worker does not wait for these locks. It goes on when the update has ended.
LOCK TABLE wee5_cron.invocation, wee5_cron.attempt IN ACCESS EXCLUSIVE MODE;

CREATE TABLE wee5_cron.before_update AS
-- As extension_members() of this version describes them.
SELECT (SELECT pg_catalog.array_agg(ROW(d.classid, d.objid)::pg_catalog.text) FROM pg_catalog.pg_depend d
        JOIN pg_catalog.pg_extension e ON e.oid OPERATOR(pg_catalog.=) d.refobjid
        WHERE d.deptype OPERATOR(pg_catalog.=) 'e' AND e.extname OPERATOR(pg_catalog.=) 'wee5_cron') AS members,
       EXISTS (SELECT FROM wee5_cron.armed a JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) a.database
               WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()) AS was_armed;
-- Who may execute which function. grantee 0 is PUBLIC; NULL: nobody was granted it.
CREATE TABLE wee5_cron.granted_before AS
SELECT p.proname, a.grantee
FROM pg_catalog.pg_proc p
JOIN pg_catalog.pg_depend d ON d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass
  AND d.objid OPERATOR(pg_catalog.=) p.oid AND d.deptype OPERATOR(pg_catalog.=) 'e'
JOIN pg_catalog.pg_extension e ON e.oid OPERATOR(pg_catalog.=) d.refobjid AND e.extname OPERATOR(pg_catalog.=) 'wee5_cron'
LEFT JOIN LATERAL pg_catalog.aclexplode(p.proacl) a ON a.grantee OPERATOR(pg_catalog.<>) p.proowner
WHERE p.pronamespace OPERATOR(pg_catalog.=) 'wee5_cron'::pg_catalog.regnamespace;

-- 0.1.0 allowed this reason, and gave it to no call.
UPDATE wee5_cron.invocation SET reason = 'cancelled' WHERE reason OPERATOR(pg_catalog.=) 'paused';

ALTER TABLE wee5_cron.invocation
  SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0),
  DROP CONSTRAINT invocation_status_check,
  ADD CONSTRAINT invocation_status_check
    CHECK (status IN ('queued', 'sending', 'retrying', 'accepted', 'succeeded', 'failed', 'skipped', 'cancelled')),
  DROP CONSTRAINT invocation_reason_check,
  ADD CONSTRAINT invocation_reason_check
    CHECK (reason IN ('config', 'dns', 'connect', 'tls', 'timeout', 'http', 'redirect', 'response', 'lost', 'incomplete',
                      'overlap', 'cancelled'));
ALTER TABLE wee5_cron.attempt
  SET (autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_vacuum_scale_factor = 0.01);
DROP INDEX wee5_cron.invocation_unfinished;
ALTER TABLE wee5_cron.invocation
  ADD COLUMN due_at timestamptz,
  ADD COLUMN key text;
CREATE INDEX invocation_unfinished ON wee5_cron.invocation (endpoint_path COLLATE "C", id)
  WHERE finished_at IS NULL AND due_at IS NULL;
CREATE INDEX invocation_unfinished_later ON wee5_cron.invocation (endpoint_path COLLATE "C", id)
  WHERE finished_at IS NULL AND due_at IS NOT NULL AND (next_attempt_at OPERATOR(pg_catalog.=) due_at) IS NOT TRUE;
CREATE INDEX invocation_keyed ON wee5_cron.invocation (requested_by, key, id) WHERE finished_at IS NULL AND key IS NOT NULL;
CREATE INDEX invocation_accepted ON wee5_cron.invocation (id) WHERE http_status = 202 AND (finished_at IS NULL OR reason = 'incomplete');

CREATE INDEX invocation_job_failure ON wee5_cron.invocation (job_name, id)
  WHERE job_name IS NOT NULL AND finished_at IS NOT NULL AND reason IS NOT NULL;

CREATE TABLE wee5_cron.claim (
  idempotency_key uuid PRIMARY KEY,
  claimed_by name NOT NULL DEFAULT SESSION_USER,
  claimed_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  lease_until timestamptz,
  completed_at timestamptz,
  ok boolean,
  note text
);
CREATE INDEX claim_expiry ON wee5_cron.claim ((COALESCE(completed_at, lease_until)));

ALTER TABLE wee5_cron.endpoint
  ADD COLUMN complete_within interval,
  ADD COLUMN keep_succeeded interval,
  ADD COLUMN keep_failed interval,
  ADD COLUMN max_in_flight int,
  ADD COLUMN max_response_bytes int;

ALTER TABLE wee5_cron.job
  ADD COLUMN applied boolean NOT NULL DEFAULT false;

ALTER TABLE wee5_cron.armed
  DROP CONSTRAINT armed_pkey,
  ADD COLUMN xid xid NOT NULL DEFAULT '0',
  ADD COLUMN note text,
  ADD COLUMN system_identifier bigint,
  ADD COLUMN timeline int,
  REPLICA IDENTITY FULL;
CREATE TABLE wee5_cron.arming (
  database oid NOT NULL,
  xid xid NOT NULL,
  id bytea NOT NULL
) USING heap;
ALTER TABLE wee5_cron.arming REPLICA IDENTITY FULL;

ALTER TABLE wee5_cron.cancellation
  ADD COLUMN replaced_by bigint,
  REPLICA IDENTITY FULL;
ALTER TABLE wee5_cron.trouble
  ADD COLUMN last_failed_at timestamptz,
  ADD COLUMN by_job boolean NOT NULL DEFAULT false,
  ADD COLUMN told_at timestamptz,
  ADD COLUMN alert jsonb;
UPDATE wee5_cron.trouble SET last_failed_at = since WHERE kind OPERATOR(pg_catalog.=) 'failing';
CREATE TABLE wee5_cron.pending_outcome (
  invocation_id bigint PRIMARY KEY
);
ALTER TABLE wee5_cron.job_watch
  ADD COLUMN job_name text,
  ADD COLUMN username text,
  ADD COLUMN cron_job oid,
  ADD COLUMN runs timestamptz[] NOT NULL DEFAULT '{}',
  ADD COLUMN unended_runs bigint[] NOT NULL DEFAULT '{}';
-- The calls of jobs were kept by their routes. The worker learns them again.
TRUNCATE wee5_cron.newest_call;
ALTER TABLE wee5_cron.newest_call SET LOGGED;

ALTER TABLE wee5_cron.pg_net_request ADD COLUMN previous_until timestamptz;
ALTER TABLE wee5_cron.pg_net_request ADD COLUMN secret_digests int[];

-- Functions that are gone, or whose parameters have other names now.
DROP FUNCTION wee5_cron.add_alert(text, text, text, bigint, text, text, int, text, int, text);
DROP FUNCTION wee5_cron.arm();
DROP FUNCTION wee5_cron.call_beside(bigint, text, text, name);
DROP FUNCTION wee5_cron.commit_is_possible();
DROP FUNCTION wee5_cron.configure(text, text, text);
DROP FUNCTION wee5_cron.doctor_history(bigint, interval);
DROP FUNCTION wee5_cron.schedule_for_session_user(text, text, text);
DROP FUNCTION wee5_cron.doctor_pg_cron();
DROP FUNCTION wee5_cron.doctor_pg_net();
DROP FUNCTION wee5_cron.doctor_preload(text[]);
DROP FUNCTION wee5_cron.explain_pg_net(text, text, int, text, text, boolean, boolean, interval, text);
DROP FUNCTION wee5_cron.grant_outside_script(regrole, text);
DROP FUNCTION wee5_cron.invoke(text, text, jsonb, jsonb, interval);
DROP FUNCTION wee5_cron.jobs_that_call();
DROP FUNCTION wee5_cron.judge_ticks(wee5_cron.job_watch, text);
DROP FUNCTION wee5_cron.next_attempt(text, int, text, int, text, timestamptz, timestamptz, double precision);
DROP FUNCTION wee5_cron.note_failed_runs(bigint, text, text, text, bigint);
DROP FUNCTION wee5_cron.note_newest_calls(int, bigint);
DROP FUNCTION wee5_cron.note_failures(text, text, int, text);
DROP FUNCTION wee5_cron.plain_http_allowed();
DROP FUNCTION wee5_cron.prune_page(int, interval, interval, bigint);
DROP FUNCTION wee5_cron.record_pg_net_answer(bigint, boolean, int, text, text, boolean, text, jsonb, boolean);
DROP FUNCTION wee5_cron.revoke_default_privileges();
DROP FUNCTION wee5_cron.silence_statements();
DROP FUNCTION wee5_cron.tell_alerts(boolean);
DROP FUNCTION wee5_cron.valid_text(text, int);
DROP FUNCTION wee5_cron.whom(text, text);

-- the functions of this version

CREATE TRIGGER wake_for_waiting_calls AFTER DELETE ON wee5_cron.invocation
  FOR EACH STATEMENT EXECUTE FUNCTION wee5_cron.wake_for_waiting_calls();

-- The objects that this script made belong to whoever runs it. The worker and the functions of the extension run with the
-- rights of the extension's owner.
DO $$
DECLARE
  owner oid;
  members text[];
  object text;
BEGIN
  PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
  SELECT e.extowner INTO owner FROM pg_extension e WHERE e.extname = 'wee5_cron';
  SELECT b.members INTO members FROM wee5_cron.before_update b;
  FOR object IN
    SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE' WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END || ' ' || c.oid::regclass
    FROM wee5_cron.extension_members() m
    JOIN pg_class c ON m.classid = 'pg_class'::regclass AND c.oid = m.objid AND c.relkind IN ('r', 'v', 'S')
    WHERE c.relowner <> owner AND m::text <> ALL (members) AND c.relname NOT IN ('before_update', 'granted_before')
    UNION ALL
    SELECT 'ROUTINE ' || p.oid::regprocedure
    FROM wee5_cron.extension_members() m
    JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND p.oid = m.objid
    WHERE p.proowner <> owner AND m::text <> ALL (members)
  LOOP
    EXECUTE format('ALTER %s OWNER TO %s', object, owner::regrole);
  END LOOP;
END
$$;

-- Existing grants stay as they are, and nobody has a privilege on what is new, with two exceptions. A function that
-- replaces one of the same name is granted to the same roles. A role with a profile gets what the profile has under new
-- names.
DO $$
DECLARE
  state wee5_cron.before_update;
  granted record;
BEGIN
  PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
  SELECT * INTO state FROM wee5_cron.before_update;
  PERFORM wee5_cron.revoke_default_privileges(state.members);
  FOR granted IN
    SELECT g.grantee, array_agg(format('EXECUTE ON ROUTINE %s', p.oid::regprocedure)) AS privileges
    FROM wee5_cron.extension_members() m
    JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND p.oid = m.objid
    JOIN wee5_cron.granted_before g ON g.proname = p.proname AND g.grantee IS NOT NULL
    WHERE m::text <> ALL (state.members)
    GROUP BY g.grantee
    UNION ALL
    SELECT h.grantee, array_agg(privilege)
    FROM (
      SELECT g.grantee, mark.profile
      FROM wee5_cron.granted_before g
      JOIN (VALUES ('call', array['invoke']), ('app', array['claim']), ('read', array['invoke', 'doctor']), ('operate', array['invoke', 'doctor', 'configure']))
        AS mark (profile, functions) ON g.proname = ANY (mark.functions)
      WHERE g.grantee <> 0
      GROUP BY g.grantee, mark.profile, mark.functions
      HAVING count(DISTINCT g.proname) = cardinality(mark.functions)
    ) h
    CROSS JOIN LATERAL unnest(wee5_cron.profile_privileges(h.profile)) AS privilege
    CROSS JOIN LATERAL (
      SELECT substring(privilege FROM ' ON (?:FUNCTION|PROCEDURE) wee5_cron\.(\w+)\(') AS function,
             to_regclass(substring(privilege FROM ' ON (?:TABLE|SEQUENCE) (\S+)$')) AS relation
    ) object
    WHERE object.function NOT IN (SELECT g.proname FROM wee5_cron.granted_before g)
       OR object.relation IS NOT NULL
      AND ROW('pg_class'::regclass::oid, object.relation::oid)::text <> ALL (state.members)
    GROUP BY h.grantee, h.profile
  LOOP
    PERFORM wee5_cron.grant_outside_script(granted.grantee::regrole, granted.privileges);
  END LOOP;
  DROP TABLE wee5_cron.before_update, wee5_cron.granted_before;
  IF state.was_armed THEN
    PERFORM wee5_cron.arm();
  END IF;
END
$$;
