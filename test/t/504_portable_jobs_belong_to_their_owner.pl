# Jobs of the portable edition change only through pg_cron's functions, and belong to the owner of wee5_cron. harvest() does
# the work that a worker does elsewhere: it watches the jobs, and deletes old calls and its own rows in pg_cron's history.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test fixtures => [ 'pg_net', 'supabase_vault' ];
use Wee5Cron::Hosted;

my $secret   = 'canary-of-the-portable-jobs';
my $receiver = Wee5Cron::Receiver->start(secret => $secret);
my $node     = Wee5Cron::Hosted->start_new('main');
$node->install_portable;
$node->as_owner("SELECT wee5_cron.configure('@{[ $receiver->url ]}', '$secret')");
$node->as_owner("CREATE ROLE operator LOGIN; SELECT wee5_cron.grant_to('operator', 'operate')");

# A login role that the host created for an hour works for the owner.
$node->safe_psql('postgres', 'CREATE ROLE cli_login_postgres LOGIN; GRANT postgres TO cli_login_postgres');
is($node->psql_as('cli_login_postgres', 'postgres', "SET SESSION ROLE postgres; SELECT wee5_cron.schedule('by-cli', '0 0 1 1 *', '/by-cli') > 0"), 't', 'a temporary login role can make a job');
is($node->safe_psql('postgres', "SELECT username FROM cron.job WHERE jobname = 'by-cli'"), 'postgres', '... which belongs to the owner');
is($node->psql_as('operator', 'postgres', "SELECT wee5_cron.pause('by-cli', 'later'); SELECT state FROM wee5_cron.job_status WHERE job_name = 'by-cli'"), "\npaused", 'an operator can pause it');
is($node->psql_as('operator', 'postgres', "SELECT wee5_cron.resume('by-cli'); SELECT wee5_cron.unschedule('by-cli')"), "\nt", '... and remove it');
is($node->psql_as('operator', 'postgres', "SELECT count(*) FROM wee5_cron.next_runs('welcome-emails', 3)"), 3, 'next_runs() returns as many runs as asked for');

# A job of another role.
$node->safe_psql('postgres', 'CREATE ROLE neighbour LOGIN; GRANT USAGE ON SCHEMA cron TO neighbour; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA cron TO neighbour');
$node->psql_as('neighbour', 'postgres', q{SELECT cron.schedule('theirs', '0 0 1 1 *', 'SELECT public.invoke_cron_endpoint(''/theirs'')')});
$node->raises('postgres', "SELECT wee5_cron.$_('theirs')", '42501', "$_() of another role's job", role => 'operator', message => qr/^job "theirs" belongs to role "neighbour"$/, hint => qr/SET ROLE neighbour;/) for qw(pause resume unschedule);
is($node->safe_psql('postgres', "SELECT active FROM cron.job WHERE jobname = 'theirs'"), 't', '... and the job is unchanged');
$node->safe_psql('postgres', "DELETE FROM cron.job WHERE jobname = 'theirs'");

# The jobs that register_jobs() made.
is($node->as_owner('SELECT wee5_cron.register_jobs()'), 0, 'a second register_jobs() makes no job');
$node->as_owner("SELECT wee5_cron.unschedule('daily-analytics')");
is($node->as_owner('SELECT wee5_cron.register_jobs()'), 0, '... and does not bring back a deleted one');
is($node->as_owner('SELECT wee5_cron.register_jobs(force => true)'), 1, '... except with force');
my $jobs = "SELECT string_agg(jobname, ' ' ORDER BY jobname) FROM cron.job";
is($node->as_owner("SELECT wee5_cron.unregister_jobs(); $jobs"), "3\nwee5-cron-harvest", 'unregister_jobs() keeps the harvest job');
is($node->as_owner("SELECT wee5_cron.configure(); $jobs"), "\nwee5-cron-harvest", '... and configure() does not bring the others back');
is($node->as_owner("SELECT wee5_cron.set('default_jobs', 'off'); SELECT wee5_cron.register_jobs(force => true)"), "off\n0", "with default_jobs = 'off' register_jobs() makes no job");
is($node->as_owner("SELECT wee5_cron.set('default_jobs', NULL); SELECT wee5_cron.register_jobs(force => true)"), "on\n3", "with default_jobs = 'on' register_jobs() makes all three");
$node->remove_harvest_job;
my $id = $node->as_owner("SELECT wee5_cron.run_now('poll-activities')");
$node->deliver_and_harvest;
fields_are($node->invocation('postgres', $id), { job_name => 'poll-activities', status => 'succeeded', http_status => 200 }, 'run_now() makes the call of a job');

# Jobs as a file. An operator applies it; the jobs belong to the owner.
my $config = q{{"jobs": {"nightly": {"schedule": "15 3 * * *", "path": "/api/nightly", "timeout": "20 minutes", "active": false}}}};
is($node->psql_as('operator', 'postgres', "SELECT action FROM wee5_cron.plan('$config')"), "create\npause", 'plan() lists what apply() would do');
is($node->psql_as('operator', 'postgres', "SELECT action FROM wee5_cron.apply('$config')"), "create\npause", 'apply() does what plan() listed');
is($node->safe_psql('postgres', "SELECT username, schedule, command, active FROM cron.job WHERE jobname = 'nightly'"), "postgres|15 3 * * *|SELECT public.invoke_cron_endpoint('/api/nightly')|f", '... and the job belongs to the owner');
is($node->as_owner("SELECT timeout FROM wee5_cron.endpoint WHERE endpoint_path = '/api/nightly'"), '00:20:00', '... and has its policy');
is($node->psql_as('operator', 'postgres', "SELECT * FROM wee5_cron.apply('$config', prune => true)"), '', '... and a second apply() does nothing');
is($node->psql_as('operator', 'postgres', "SELECT string_agg(action || ' ' || job_name, ', ') FROM wee5_cron.plan(wee5_cron.export_config())"), 'adopt daily-analytics, adopt poll-activities, adopt welcome-emails', 'export_config() has every job but the harvest job');
is($node->psql_as('operator', 'postgres', "SELECT count(*) FROM wee5_cron.apply(wee5_cron.export_config()); SELECT count(*) FROM wee5_cron.plan(wee5_cron.export_config())"), "3\n0", '... and applying it once leaves nothing to do');
$node->raises('postgres', qq{SELECT wee5_cron.plan('{"jobs": {"nightly": {"schedul": "* * * * *"}}}')}, '22023', 'an unknown key', role => 'operator', message => qr/^unknown key jobs\.nightly\.schedul$/, hint => qr/^Did you mean "schedule"\?/);
$node->psql_as('neighbour', 'postgres', q{SELECT cron.schedule('theirs', '0 0 1 1 *', 'SELECT public.invoke_cron_endpoint(''/theirs'')')});
$node->raises('postgres', qq{SELECT wee5_cron.apply('{"jobs": {"theirs": {"schedule": "* * * * *", "path": "/x"}}}')}, '42P09', "a name that another role's job has", role => 'operator', message => qr/^job "theirs" belongs to role "neighbour"$/);
$node->safe_psql('postgres', "DELETE FROM cron.job WHERE jobname = 'theirs'");
is($node->psql_as('operator', 'postgres', qq{SELECT action, job_name FROM wee5_cron.apply(wee5_cron.export_config() #- '{jobs,nightly}', prune => true)}), 'remove|nightly', 'apply() with prune removes a job that is no longer in the file');

# harvest() watches the jobs.
$node->as_owner("SELECT wee5_cron.schedule('missed', '* * * * *', '/status/200?missed'); SELECT cron.alter_job(jobid, active => false) FROM cron.job WHERE jobname = 'missed'");
$node->as_owner('SELECT wee5_cron.harvest()');
is($node->as_owner("SELECT count(*) FROM wee5_cron.job_watch w JOIN cron.job j USING (jobid) WHERE j.jobname = 'missed'"), 1, 'harvest() watches the jobs');

# A run of a target that was missed before the server started.
my $billing = Wee5Cron::Receiver->start(secret => 'the secret that billing expects');
$node->as_owner("SELECT wee5_cron.configure_target('billing', '@{[ $billing->url ]}', 'the secret that billing expects')");
$node->as_owner(q{SELECT wee5_cron.schedule('billed', to_char(now() AT TIME ZONE 'GMT' - interval '10 minutes', 'FMMI FMHH24 * * *'), 'billing:/status/200')});
$node->as_owner('SELECT wee5_cron.watch_jobs()');
$node->as_owner("UPDATE wee5_cron.job_watch SET judged_until = now() - interval '30 minutes' WHERE job_name = 'billed'; SELECT wee5_cron.watch_jobs()");
$node->deliver_and_harvest;
fields_are($node->one_row('postgres', q{SELECT status, endpoint_path, http_status, scheduled_at < now() - interval '9 minutes' AS is_of_the_tick FROM wee5_cron.invocation WHERE job_name = 'billed'}),
    { status => 'succeeded', endpoint_path => 'billing:/status/200', http_status => 200, is_of_the_tick => 1 }, 'a missed run of a target is made up for');
is(($billing->requests('/status/200'))[0]{bearer}, 'match', '... with the secret of the target');
$node->as_owner("SELECT wee5_cron.unschedule('billed'); SELECT wee5_cron.drop_target('billing'); DELETE FROM wee5_cron.invocation WHERE job_name = 'billed'");
$billing->stop;

# harvest() deletes old calls and old runs.
$node->as_owner("UPDATE wee5_cron.invocation SET finished_at = now() - interval '60 days', requested_at = now() - interval '60 days' WHERE id = $id");
$node->as_owner("INSERT INTO wee5_cron.invocation (endpoint_path, transport, status, attempts, requested_at, finished_at, job_name) SELECT '/old', 'pg_net', 'succeeded', 1, now() - interval '60 days', now() - interval '60 days', 'poll-activities' FROM generate_series(1, 100)");
$node->as_owner("DELETE FROM wee5_cron.background_task WHERE name = 'prune'; SELECT wee5_cron.harvest()");
cmp_ok($node->as_owner("SELECT count(*) FROM wee5_cron.invocation"), '<=', 3, 'harvest() deletes expired calls, and keeps the newest ones of a job');
$node->as_owner("INSERT INTO wee5_cron.invocation (endpoint_path, transport, status, attempts, requested_at, finished_at) SELECT '/older', 'pg_net', 'succeeded', 1, now() - interval '2 days', now() - interval '2 days' FROM generate_series(1, 5)");
is($node->as_owner("SELECT wee5_cron.harvest() IS NULL; SELECT count(*) FROM wee5_cron.invocation WHERE endpoint_path = '/older'") =~ s/^.*\n//r, 5, '... and no younger ones');
is($node->as_owner("SELECT wee5_cron.set('keep_succeeded', '1d'), wee5_cron.harvest() IS NULL; SELECT count(*) FROM wee5_cron.invocation WHERE endpoint_path = '/older'") =~ s/^.*\n//r, 1, '... until they are to be kept for a shorter time, and the newest one even then');
my $jobid = $node->as_owner("SELECT wee5_cron.register_jobs(force => true) IS NOT NULL; SELECT jobid FROM cron.job WHERE jobname = 'wee5-cron-harvest'") =~ s/^t\n//r;
$node->safe_psql('postgres', "INSERT INTO cron.job_run_details (jobid, runid, database, username, command, status, start_time, end_time) SELECT $jobid, n, 'postgres', 'postgres', 'SELECT wee5_cron.harvest()', CASE WHEN n > 1008 THEN 'failed' ELSE 'succeeded' END, now() - interval '1 hour', now() - interval '1 hour' FROM generate_series(1001, 1010) n");
$node->as_owner('SELECT wee5_cron.harvest()');
is($node->safe_psql('postgres', "SELECT string_agg(runid::text, ' ' ORDER BY runid) FROM cron.job_run_details WHERE runid BETWEEN 1001 AND 1010"), '1009 1010', "... and deletes its own successful runs from pg_cron's history");

# A policy that keeps calls for a short time, while all others are kept for ever: the newest call of a job stays.
$node->as_owner("SELECT wee5_cron.set('keep_succeeded', '-1'); SELECT wee5_cron.set('keep_failed', '-1'); INSERT INTO wee5_cron.endpoint (endpoint_path, keep_succeeded) VALUES ('/brief', '1 minute')");
$node->as_owner(<<'SQL');
INSERT INTO wee5_cron.invocation (endpoint_path, job_name, transport, status, requested_at, finished_at)
SELECT '/brief', 'brief', 'pg_net', 'succeeded', now() - interval '1 hour', now() - interval '1 hour' FROM generate_series(1, 5);
SQL
$node->as_owner('SELECT wee5_cron.harvest()');
is($node->safe_psql('postgres', "SELECT count(*) FROM wee5_cron.invocation WHERE job_name = 'brief'"), 1, 'a policy with a short time to keep deletes all but the newest call of a job');
$node->as_owner(<<'SQL');
INSERT INTO wee5_cron.invocation (endpoint_path, job_name, transport, status, requested_at, finished_at)
VALUES ('/brief', 'brief', 'pg_net', 'succeeded', now() - interval '30 seconds', now() - interval '30 seconds');
UPDATE wee5_cron.background_task SET due_at = NULL WHERE name = 'prune_brief';
SELECT wee5_cron.harvest();
SQL
is($node->safe_psql('postgres', "SELECT string_agg((now() - finished_at < '50 minutes')::text, ' ') FROM wee5_cron.invocation WHERE job_name = 'brief'"), 'true', '... which is deleted when there is a newer one');
$node->as_owner("SELECT wee5_cron.set('keep_succeeded', NULL); SELECT wee5_cron.set('keep_failed', NULL)");

# What a monitor sees. The stand-in for pg_net is not a process of the server.
$node->as_owner("CREATE ROLE monitor LOGIN; SELECT wee5_cron.grant_to('monitor', 'monitor'); SELECT wee5_cron.schedule('failing', '0 0 1 1 *', '/status/500')");
sub health { return $node->psql_as('monitor', 'postgres', "SELECT string_agg(h.key || ' ' || h.value, ', ' ORDER BY h.key) FROM jsonb_each_text(wee5_cron.health()) h WHERE h.key NOT IN ('at', 'ok', 'worker')") }
sub worker_health { return $node->psql_as('monitor', 'postgres', "SELECT wee5_cron.health()->>'worker'") }
is(health(), 'armed true, enabled true, failing [], late [], queue_age 0, waiting []', 'health() of a healthy database lists no problem');
$node->safe_psql('postgres', 'DELETE FROM cron.job_run_details');
is(worker_health(), 'down', 'health() says that the worker is down while harvest() does not run');
$node->safe_psql('postgres', "INSERT INTO cron.job_run_details (jobid, runid, database, username, command, status, start_time, end_time) SELECT $jobid, nextval('cron.runid_seq'), 'postgres', 'postgres', '', 'succeeded', now(), now()");
is(worker_health(), $node->uses_real_pg_net ? 'up' : 'down', '... and up while harvest() and pg_net run');
# Its runs fail: the owner's transactions are read-only, for example.
sub harvest_ends {
    my ($status) = @_;
    $node->safe_psql('postgres', "INSERT INTO cron.job_run_details (jobid, runid, database, username, command, status, return_message, start_time, end_time) SELECT $jobid, nextval('cron.runid_seq'), 'postgres', 'postgres', 'SELECT wee5_cron.harvest()', '$status', E'ERROR: cannot execute\nCONTEXT: ', now(), now()");
    return;
}
sub harvest_finding { return $node->as_owner("SELECT status || ' ' || detail FROM wee5_cron.doctor() WHERE check_name = 'pg_net_harvest'") }
harvest_ends('failed') for 1 .. 3;
is(harvest_finding(), "error the job that records pg_net's answers fails: ERROR: cannot execute", 'doctor() reports a harvest job whose runs fail');
harvest_ends('succeeded');
is(harvest_finding(), "ok a job records pg_net's answers", '... until one succeeds');
$node->remove_harvest_job;
$node->no_retries('postgres', '/status/500');
for (1 .. 3) {
    $node->as_owner("SELECT wee5_cron.run_now('failing')");
    $node->deliver_and_harvest;
}
like(health(), qr/failing \["failing"\]/, 'health() lists a job that fails');
is($node->psql_as('monitor', 'postgres', "SELECT string_agg(name || ' ' || value, ', ' ORDER BY name) FROM wee5_cron.metrics WHERE labels->>'job' = 'failing' AND value > 0 AND name LIKE '%fail%'"), 'wee5_cron_job_consecutive_failures 3, wee5_cron_job_failing 1', '... and metrics has it too');
is($node->psql_as('monitor', 'postgres', "SELECT count(*) FROM wee5_cron.metrics WHERE labels->>'job' = 'failing' AND labels->>'owner' = 'postgres' AND name = 'wee5_cron_job_late'"), 1, '... under its owner');
$node->as_owner("SELECT wee5_cron.unschedule('failing'); SELECT wee5_cron.disarm()");
like(health(), qr/^armed false, enabled true, failing \[\]/, 'health() shows a disarmed database');
$node->raises('postgres', 'SELECT wee5_cron.assert_healthy()', '57000', 'assert_healthy()', role => 'monitor', message => qr/the database is disarmed/);
$node->as_owner("SELECT wee5_cron.set('enabled', 'off')");
like(health(), qr/^armed false, enabled false/, 'health() shows that calls are switched off');
$node->as_owner("SELECT wee5_cron.set('enabled', NULL); SELECT wee5_cron.arm()");

# A backlog.
$node->as_owner(<<'SQL');
WITH made AS (
  INSERT INTO wee5_cron.invocation (endpoint_path, method, transport) SELECT '/backlog', 'GET', 'pg_net' FROM generate_series(1, 5010) RETURNING id
), bound AS (
  INSERT INTO wee5_cron.pg_net_request (invocation_id, request_id) SELECT id, 1000000 + id FROM made
)
INSERT INTO net._http_response (id, status_code, content_type, content, timed_out) SELECT 1000000 + id, 200, 'text/plain', 'ok', false FROM made;
SQL
# On a busy machine, 5,000 answers take longer than the host's statement_timeout. The number is what counts here.
my ($most, $rest) = map { $node->as_owner('SET statement_timeout = 0; SELECT wee5_cron.harvest()') } 1, 2;
is($most, 5000, 'harvest() records 5,000 answers at most');
# The real pg_net may have answered other calls meanwhile.
cmp_ok($rest, '>=', 10, '... and the next one records the rest');
is($node->as_owner("SELECT count(*) FROM wee5_cron.invocation WHERE endpoint_path = '/backlog' AND status <> 'succeeded'"), 0, '... so that no answer is left');

# What harvest() costs with nothing to do.
$node->as_owner("SELECT wee5_cron.harvest()");
my $ms = $node->as_owner(q{SELECT wee5_cron.harvest(); CREATE TEMP TABLE begun AS SELECT clock_timestamp() AS at; SELECT wee5_cron.harvest(); SELECT (extract(epoch FROM clock_timestamp() - at) * 1000)::int FROM begun}) =~ s/.*\n//sr;
note("harvest() with nothing to do: $ms ms");

# The statements of the page about this edition, in its order. Other tests run uninstall() and the move to the extension.
my $page = slurp_file("$FindBin::RealBin/../../docs/supabase.md");
for my $block ($page =~ /^ *```(?:pg)?sql\n(.*?)^ *```/msg) {
    next if $block =~ /uninstall/;
    ok(eval { $node->as_owner($block); 1 }, 'docs/supabase.md: ' . ($block =~ s/\s+/ /gr)) or diag($@);
}

# pg_cron was dropped, and a stranger's schema has its name.
$node->safe_psql('postgres', <<'SQL');
DROP EXTENSION pg_cron;
CREATE ROLE stranger;
GRANT CREATE ON DATABASE postgres TO stranger;
SET ROLE stranger;
CREATE SCHEMA cron;
CREATE TABLE cron.seen (by_role name);
CREATE FUNCTION cron.spy() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN INSERT INTO cron.seen VALUES (current_user); RETURN 1; END $$;
CREATE VIEW cron.job AS SELECT cron.spy() AS jobid, ''::text AS jobname, ''::text AS schedule, ''::text AS command, true AS active, ''::name AS username, 'postgres'::text AS database;
CREATE VIEW cron.job_run_details AS SELECT cron.spy() AS runid, 1::bigint AS jobid, 'succeeded'::text AS status, now() AS end_time;
GRANT ALL ON SCHEMA cron TO PUBLIC;
GRANT ALL ON ALL TABLES IN SCHEMA cron TO PUBLIC;
SQL
my (undef, undef, $said) = $node->psql('postgres', 'SELECT wee5_cron.harvest()', extra_params => [ '-U', 'postgres' ]);
is($said, '', 'harvest() works without pg_cron');
is($node->safe_psql('postgres', 'SELECT count(*) FROM cron.seen'), 0, "... and runs nothing in a stranger's schema cron");

$node->log_is_sane;
done_testing();
