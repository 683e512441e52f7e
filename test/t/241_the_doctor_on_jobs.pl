# doctor() on jobs, on the roles that may call, on other functions of the same name, and on the history that is kept. The test
# runs each hint as it stands, and the hint has to help.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Doctor;
use Wee5Cron::Editions;
use Wee5Cron::Test;

my $secret   = 'canary-of-the-doctor-0815';
my $receiver = Wee5Cron::Receiver->start(secret => $secret);
my $node     = Wee5Cron::Editions->start_node('main');
$node->install('postgres', api_url => $receiver->url, secret => $secret);
my $doctor = Wee5Cron::Doctor->new($node, 'postgres');

# Which jobs exist.
$doctor->red('jobs_made', 'warning', qr/no job of this database calls the app/, 'default_jobs off, and no job of another name');
$node->is_portable ? $node->set_database('postgres', default_jobs => 'on') : $node->set_server('wee5_cron.default_jobs', 'on');
$doctor->red('jobs_made', 'error', qr/job "daily-analytics" was never registered/, 'jobs that were never registered');
$doctor->red_then_green('jobs_made', 'error', qr/job "poll-activities" was never registered/, 'one of several jobs that were never registered');
$doctor->green('jobs_made', 'after the hint', qr/^3 jobs call the app: daily-analytics, poll-activities, welcome-emails$/);
$node->safe_psql('postgres', "SELECT cron.unschedule('welcome-emails')");
$doctor->red_then_green('jobs_made', 'warning', qr/job "welcome-emails" was registered but no longer exists/, 'a default job that was deleted');
$node->safe_psql('postgres', "SELECT cron.unschedule('welcome-emails')");
my ($other_way) = $doctor->red('jobs_made', 'warning', qr/welcome-emails/, 'deleted on purpose') =~ /((?:ALTER DATABASE|SELECT wee5_cron\.set).*)/;
$doctor->paste($other_way, '... and its hint has the other way, which runs as SQL');
$doctor->green('jobs_made', 'after the other hint', qr/^2 jobs/);
$node->set_database('postgres', default_jobs => undef);
$node->safe_psql('postgres', 'SELECT wee5_cron.unregister_jobs()');
$node->safe_psql('postgres', "SELECT wee5_cron.schedule('own', '0 0 1 1 *', '/own')");
$doctor->green('jobs_made', 'only jobs of other names', qr/^1 job calls the app: own$/);

# Which jobs make calls.
$node->safe_psql('postgres', "SELECT cron.schedule('welcome-emails', '0 0 1 1 *', 'SELECT 1')");
$doctor->red_then_green('job_calls_us', 'warning', qr/job "welcome-emails" has the name of a job of wee5_cron/, 'a job with the name of a default job and another command');
is($node->safe_psql('postgres', "SELECT command FROM cron.job WHERE jobname = 'welcome-emails'"),
    "SELECT public.invoke_cron_endpoint('/api/cron/welcome-emails')", '... and the hint makes it call the path of the default job');
$node->safe_psql('postgres', q{SELECT cron.schedule('elsewhere', '0 0 1 1 *', $$SELECT extensions.invoke_cron_endpoint('/it''s')$$)});
$doctor->red_then_green('job_calls_us', 'error', qr/job "elsewhere" calls extensions\.invoke_cron_endpoint/, 'a job that calls a function in another schema');
is($node->safe_psql('postgres', "SELECT command FROM cron.job WHERE jobname = 'elsewhere'"), "SELECT public.invoke_cron_endpoint('/it''s')", '... and the hint keeps its path');
# The hint would take the other statement away.
for my $more ('DELETE FROM old_rows; SELECT %s', 'SELECT %s, count(old_rows())', 'SELECT %s FROM tenants', 'SELECT old_rows() || %s', 'SELECT %s; VACUUM') {
    my $command = sprintf $more, q{extensions.invoke_cron_endpoint('/both')};
    $node->safe_psql('postgres', "SELECT cron.schedule('both', '0 0 1 1 *', \$\$$command\$\$)");
    is($doctor->red('job_calls_us', 'error', qr/job "both" calls extensions\.invoke_cron_endpoint/, "a job that also does something else, $command"),
        '-- Change its command so that it calls public.invoke_cron_endpoint().', '... keeps its command, and the hint says what to change');
}
$node->safe_psql('postgres', q{SELECT cron.unschedule('both')});
$node->safe_psql('postgres', q{SELECT cron.schedule('quoted', '0 0 1 1 *', $$SELECT "public" . invoke_cron_endpoint ('/x')$$)});
$doctor->green('job_calls_us', 'a job that quotes the schema');
$node->safe_psql('postgres', q{SELECT cron.schedule('upper', '0 0 1 1 *', $$SELECT INVOKE_CRON_ENDPOINT('/x')$$)});
$node->safe_psql('postgres', q{SELECT wee5_cron.pause(n), wee5_cron.resume(n) FROM unnest(array['quoted', 'upper']) n});
is($node->safe_psql('postgres', q{SELECT string_agg(job_name || ' ' || endpoint_path, ', ' ORDER BY job_name) FROM wee5_cron.job_status WHERE job_name IN ('quoted', 'upper')}),
    'quoted /x, upper /x', 'jobs that quote our function, or name it in capitals, have a state and can be paused');
$node->safe_psql('postgres', q{SELECT cron.unschedule('upper')});

# Which jobs are active.
$node->safe_psql('postgres', "SELECT wee5_cron.pause('own', 'the app moves')");
$doctor->red_then_green('job_active', 'warning', qr/job "own" is paused since \d{4}-.*: the app moves$/, 'a paused job');

# Which roles may make calls.
$node->safe_psql('postgres', 'CREATE ROLE anon; CREATE ROLE authenticated; CREATE ROLE service_role') unless $node->is_portable;
$node->safe_psql('postgres', "SELECT wee5_cron.grant_to('service_role', 'operate')");
$doctor->green('callers', 'a service role that may call');
$node->safe_psql('postgres', 'GRANT EXECUTE ON FUNCTION public.invoke_cron_endpoint(text) TO PUBLIC');
$doctor->red_then_green('callers', 'error', qr/^every role may use public\.invoke_cron_endpoint\(text\)$/, 'every role may call');
$node->safe_psql('postgres', "SELECT wee5_cron.grant_to('anon', 'read'); SELECT wee5_cron.grant_to('authenticated', 'operate')");
$doctor->red('callers', 'error', qr/^role anon may use .*wee5_cron\.invocation/, 'anon may read the ledger');
$doctor->paste($doctor->red('callers', 'error', qr/^role anon may use /, 'anon'), 'anon: the hint runs as SQL');
$doctor->red_then_green('callers', 'warning', qr/^role authenticated may use .*wee5_cron\.grant_to\(regrole,text\)/, 'authenticated may operate');
# On a hosted server, authenticated inherits nothing.
$node->safe_psql('postgres', 'ALTER ROLE authenticated INHERIT; GRANT service_role TO authenticated');
my $as_member = qr/^role authenticated, as a member of service_role, may use /;
$doctor->red_then_green('callers', 'warning', $as_member, 'authenticated is a member of a role that may call');
# From PostgreSQL 16 on, a REVOKE takes back only what one role granted. Not every owner of wee5_cron may do that.
for my $case (
    [ 'because of another role', 'CREATE ROLE "a grantor"; GRANT service_role TO "a grantor" WITH ADMIN OPTION; SET ROLE "a grantor"; GRANT service_role TO authenticated' ],
    [ 'because of two roles', 'GRANT service_role TO authenticated; SET ROLE "a grantor"; GRANT service_role TO authenticated' ],
    [ 'as a member of a member', 'CREATE ROLE between; GRANT service_role TO between; GRANT between TO authenticated' ],
    [ 'as a superuser', 'ALTER ROLE authenticated SUPERUSER' ]) {
    my ($name, $statements) = @$case;
    $node->as_superuser('postgres', $statements);
    my $hint = $doctor->red('callers', 'warning', $as_member, "... $name");
    # The owner of a hosted project is told what to ask for.
    $node->as_superuser('postgres', $hint =~ s/\A-- Only your host can change that.*\n-- //r);
    $doctor->green('callers', "... $name: the hint helps");
}
is($node->safe_psql('postgres', "SELECT pg_has_role('between', 'service_role', 'USAGE')"), 't', '... and roles that may call stay as they are');

# Row-level security, as an event trigger of a project enables it for each new table: roles that may read see nothing.
$node->as_superuser('postgres', 'CREATE ROLE reader LOGIN; CREATE ROLE sees_all LOGIN BYPASSRLS');
$node->safe_psql('postgres', "SELECT wee5_cron.grant_to(r, 'read') FROM unnest('{reader,sees_all}'::regrole[]) r");
my $id = $node->call('postgres', '/status/200');
sub seen { return $node->psql_as($_[0], 'postgres', 'SELECT count(*) > 0 FROM wee5_cron.invocation') }
$doctor->green('ledger_readers', 'roles that may read');
$node->safe_psql('postgres', "ALTER TABLE wee5_cron.$_ ENABLE ROW LEVEL SECURITY") for qw(invocation job cancellation);
is($node->finished('postgres', $id)->{status}, 'succeeded', 'with row-level security calls are made');
is(seen('reader') . seen('sees_all'), 'ft', '... and a role that may read sees none, unless it has BYPASSRLS');
my $hidden = qr/^row-level security hides all rows of wee5_cron\.invocation, wee5_cron\.job from role operator, role reader$/;
$node->safe_psql('postgres', "CREATE ROLE operator LOGIN; SELECT wee5_cron.grant_to('operator', 'operate'); SELECT wee5_cron.revoke_from('service_role', 'operate')");
my ($policy) = $doctor->red('ledger_readers', 'warning', $hidden, 'row-level security') =~ /(CREATE POLICY .*;)/;
$node->safe_psql('postgres', 'CREATE POLICY others ON wee5_cron.invocation TO sees_all USING (true); CREATE POLICY writers ON wee5_cron.invocation FOR UPDATE USING (true); CREATE POLICY strict ON wee5_cron.invocation AS RESTRICTIVE USING (true)');
$doctor->red('ledger_readers', 'warning', $hidden, '... and policies that let nobody else read');
$doctor->paste($policy, '... and the other way of its hint runs as SQL');
is(seen('reader'), 't', '... and the role sees the rows');
$doctor->red('ledger_readers', 'warning', qr/^row-level security hides all rows of wee5_cron\.job from /, '... but not those of another table');
$node->safe_psql('postgres', 'DROP POLICY readers ON wee5_cron.invocation');
$doctor->red_then_green('ledger_readers', 'warning', $hidden, 'without the policy');
is(seen('reader'), 't', '... and after the hint the role sees the rows');

# Other functions of the same name.
$node->safe_psql('postgres', <<'SQL');
CREATE SCHEMA "of old";
CREATE FUNCTION "of old".invoke_cron_endpoint(text) RETURNS void LANGUAGE sql AS 'SELECT';
SQL
$doctor->red_then_green('namesakes', 'error', qr/"of old"\.invoke_cron_endpoint\(text\) does not belong to wee5_cron/, 'another function named invoke_cron_endpoint');
unless ($node->is_portable) {  # test 500
    $node->safe_psql('postgres', 'ALTER FUNCTION public.invoke_cron_endpoint(text) RENAME TO call_it');
    is(scalar(grep { $_->{detail} =~ /the check failed/ } $doctor->lines), 0, 'when our function was renamed no check fails with an error');
    $doctor->red_then_green('namesakes', 'error', qr/wee5_cron has no function invoke_cron_endpoint\(text\)/, 'our function was renamed');
    $node->safe_psql('postgres', 'ALTER EXTENSION wee5_cron DROP FUNCTION public.invoke_cron_endpoint(text)');
    $doctor->red('namesakes', 'error', qr/wee5_cron has no function invoke_cron_endpoint\(text\)/, 'our function was taken out of the extension');
    is(join("\n", map { $_->{detail} } grep { $_->{detail} =~ /role .* does not exist/ } $doctor->lines), '', '... and no role is said to be missing');
    $node->safe_psql('postgres', 'ALTER EXTENSION wee5_cron ADD FUNCTION public.invoke_cron_endpoint(text)');
}

# The history.
$doctor->green('ledger_history', 'a small ledger');
my $transport = $node->is_portable ? 'pg_net' : 'builtin';
$node->safe_psql('postgres', <<"SQL");
INSERT INTO wee5_cron.invocation (endpoint_path, transport, status, requested_at, finished_at)
SELECT '/old', '$transport', 'succeeded', now() - interval '100 days', now() - interval '100 days' FROM generate_series(1, 2);
INSERT INTO wee5_cron.attempt (invocation_id, attempt) SELECT id, 1 FROM wee5_cron.invocation WHERE endpoint_path = '/old';
SQL
$doctor->red_then_green('ledger_history', 'warning', qr/kept for 7 days, others for 1 mon; but it still has calls from \d{4}-/, 'calls older than the ledger keeps');
is($node->safe_psql('postgres', "SELECT count(*) FROM wee5_cron.invocation WHERE endpoint_path = '/old'"), 1, '... and the newest call of the path stays');
is($node->safe_psql('postgres', 'SELECT count(*) FROM wee5_cron.attempt a WHERE NOT EXISTS (SELECT FROM wee5_cron.invocation i WHERE i.id = a.invocation_id)'), 0, '... and the attempts of deleted calls are deleted');

Wee5Cron::Editions->needs_the_worker($node);

# Jobs of another role.
$node->safe_psql('postgres', <<'SQL');
CREATE ROLE web LOGIN; SELECT wee5_cron.grant_to('web', 'call'); GRANT USAGE ON SCHEMA cron TO web;
SQL
my $jobid = $node->psql_as('web', 'postgres', q{SELECT cron.schedule('own', '0 0 1 1 *', $$SELECT invoke_cron_endpoint('/webs')$$)});
$node->safe_psql('postgres', "SELECT cron.alter_job($jobid, active => false)");
$doctor->red_then_green('job_active', 'warning', qr/job "own" is paused/, 'one of two paused jobs of one name', hint => qr/^SELECT cron\.alter_job\($jobid, /);

# pg_cron's records. Another test gets its messages on the tick, in both modes. Here each message must have its hint.
my %words = (
    'connection failed'                                                            => qr/^ALTER SYSTEM SET cron\.use_background_workers = on;\n.*^UPDATE cron\.job SET nodename = '' WHERE jobid = $jobid;\z/ms,
    'job startup timeout'                                                          => qr/^ALTER SYSTEM SET max_worker_processes = 32;$/m,
    "ERROR:  permission denied for schema wee5_cron\nLINE 1: ..."                   => qr/^SELECT wee5_cron\.grant_to\('web', 'call'\);$/m,
    "permission denied for function invoke_cron_endpoint"                          => qr/^SELECT wee5_cron\.grant_to\('web', 'call'\);$/m,
    "ERROR:  function invoke_cron_endpoint(unknown) does not exist\nLINE 1: SELECT" => qr/^SELECT cron\.alter_job\($jobid, command => 'SELECT public\.invoke_cron_endpoint\(''\/webs''\)'\);$/m,
    # The server's messages are in German: lc_messages.
    "FEHLER:  Funktion invoke_cron_endpoint(unknown) existiert nicht\nZEILE 1: SELECT" => qr/^SELECT cron\.alter_job\($jobid, command => 'SELECT public\.invoke_cron_endpoint\(''\/webs''\)'\);$/m,
    # Of a job that does more than call.
    "ERROR:  permission denied for table orders"                                   => qr/^SELECT \* FROM cron\.job_run_details WHERE jobid = $jobid/,
    'app.settings.cron_secret is not set'                                          => qr/^-- See the lines api_url and cron_secret/,
    'call 7 of /x failed: The app answered 500 Internal Server Error to /x.'       => qr/^-- See the line last_outcome/,
    'ERROR:  the builtin transport needs wee5_cron in shared_preload_libraries'    => qr/^-- See the line library_preloaded/,
    'ERROR:  division by zero'                                                     => qr/^SELECT \* FROM cron\.job_run_details WHERE jobid = $jobid/,
);
my $run = 0;
for my $message (sort keys %words) {
    $run++;
    $node->safe_psql('postgres', <<SQL);
INSERT INTO cron.job_run_details (jobid, runid, database, username, command, status, return_message, start_time, end_time)
VALUES ($jobid, $run, 'postgres', 'web', 'SELECT x', 'failed', \$m\$$message\$m\$, now(), now());
SQL
    my ($first) = split /\n/, $message;
    my $hint = $doctor->red('job_last_run', 'error', qr/last run of job "own".* as failed: \Q$first\E/, "the message $first");
    like($hint, $words{$message}, '... and the hint fits the message');
    $doctor->paste($hint, '... and runs as SQL');
}
$node->safe_psql('postgres', "SELECT pg_reload_conf()");
{
    $run++;
    $node->safe_psql('postgres', 'REVOKE ALL ON FUNCTION invoke_cron_endpoint(text) FROM web;'
          . "INSERT INTO cron.job_run_details (jobid, runid, status, return_message, start_time, end_time) VALUES ($jobid, $run, 'failed', 'FEHLER:  keine Berechtigung', now(), now())");
    my $hint = $doctor->red('job_last_run', 'error', qr/as failed: FEHLER:/, 'a role that may not call, in another language');
    is($hint, q{SELECT wee5_cron.grant_to('web', 'call');}, '... and the hint grants the call');
    $doctor->paste($hint, '... and runs as SQL');
}
# Jobs for another database, which does not see pg_cron's history.
{
    $node->safe_psql('postgres', 'CREATE DATABASE other');
    my $other = $node->safe_psql('postgres', q{SELECT cron.schedule_in_database('digest@other', '0 0 1 1 *', $$SELECT app.invoke_cron_endpoint('/digest')$$, 'other', 'web')});
    my $others = 1000;
    my $logged = sub {
        my ($status, $message) = @_;
        $others++;
        $node->safe_psql('postgres', "INSERT INTO cron.job_run_details (jobid, runid, status, return_message, start_time, end_time) VALUES ($other, $others, '$status', '$message', now(), now())");
        return;
    };
    my $failed = qr/last run of job "digest\@other", which is for database "other", at \d{4}-.* as failed: /;
    $logged->('failed', 'ERROR:  permission denied for function invoke_cron_endpoint');
    is($doctor->red('job_last_run', 'error', qr/${failed}ERROR:  permission denied/, "another database's job that may not call"),
        q{-- In database "other": SELECT wee5_cron.grant_to('web', 'call');}, '... and the hint says where to grant the call');
    $logged->('failed', 'connection failed');
    like($doctor->red('job_last_run', 'error', qr/${failed}connection failed/, "another database's job that cannot connect"), qr/^ALTER SYSTEM SET cron\.use_background_workers = on;$/m, '... and the hint fits');
    $node->safe_psql('postgres', 'REVOKE CONNECT ON DATABASE other FROM PUBLIC');
    $doctor->paste($doctor->red('job_last_run', 'error', $failed, '... or whose role may not'), '... and the hint runs as SQL');
    is($node->safe_psql('postgres', q{SELECT has_database_privilege('web', 'other', 'CONNECT')}), 't', '... and lets the role connect');
    for my $case ([ 'UPDATE cron.job SET username = $$gone$$ WHERE database = $$other$$', qr/^SELECT cron\.alter_job\($other, username => '/ ], [ 'ALTER ROLE web NOLOGIN', qr/^ALTER ROLE web LOGIN;$/ ]) {
        $node->safe_psql('postgres', $case->[0]);
        my $hint = $doctor->red('job_last_run', 'error', $failed, "... $case->[0]");
        like($hint, $case->[1], '... and the hint fits');
        $doctor->paste($hint =~ s/username => '.*'/username => 'web'/r, '... and runs as SQL');
    }
    $logged->('succeeded', '1 row');
    is(scalar(grep { $_->{detail} =~ /digest/ } $doctor->lines('job_last_run')), 0, '... and after a run that succeeded doctor() says nothing of it');
    $node->safe_psql('postgres', "SELECT cron.unschedule($other); DELETE FROM cron.job_run_details WHERE jobid = $other; DROP DATABASE other");
}
# The secret in pg_cron's message, which quotes the job's command.
$node->safe_psql('postgres', "INSERT INTO cron.job_run_details (runid, jobid, job_pid, database, username, command, status) SELECT -runid, jobid, job_pid, database, username, command, status FROM cron.job_run_details");
$node->safe_psql('postgres', "UPDATE cron.job_run_details SET return_message = 'LINE 1: SELECT net.http_get(...Bearer $secret' WHERE runid = $run");
my $text = join "\n", map { "$_->{detail} " . ($_->{hint} // '') } $doctor->lines;
unlike($text, qr/\Q$secret\E/, "a secret in pg_cron's message is redacted");
like($text, qr/Bearer \[secret\]/, '... and the rest of the message stays');
$run++;
$node->safe_psql('postgres', <<SQL);
INSERT INTO cron.job_run_details (jobid, runid, database, username, command, status, return_message, start_time, end_time)
VALUES ($jobid, $run, 'postgres', 'web', 'SELECT x', 'succeeded', '1 row', now(), now()), ($jobid, $run + 1, 'postgres', 'web', 'SELECT x', 'running', NULL, now(), NULL);
SQL
$doctor->green('job_last_run', 'the newest run that has ended', qr/jobs whose last run succeeded: 1; jobs that have not run yet: elsewhere, own, quoted, welcome-emails/);

# The secret in a command.
for my $command (
    "SELECT net.http_get('http://app.example.com/api/cron/x?a=1', headers := '{\"Authorization\": \"Bearer $secret\"}')",
    "SELECT net.http_get('http://app.example.com/api/cron/x', headers := '{\"x-key\": \"$secret\"}')",
    "SELECT net.http_post(url := 'https://app.example.com/api/cron/x', headers := '{\"Authorization\": \"Bearer another-one\"}')",
) {
    my $id = $node->psql_as('web', 'postgres', "SELECT cron.schedule('leaky', '0 0 1 1 *', \$c\$$command\$c\$)");
    $node->safe_psql('postgres', "INSERT INTO cron.job_run_details (jobid, runid, command) SELECT $id, max(runid) + 1, \$c\$$command\$c\$ FROM cron.job_run_details");
    my $hint = $doctor->red('secret_in_jobs', 'error', qr/the command of job "leaky" contains a bearer secret/, 'a secret in a command');
    unlike($hint, qr/\Q$secret\E|another-one/, '... and the hint does not contain it');
    $doctor->paste($hint, '... and the hint runs as SQL');
    is($node->safe_psql('postgres', "SELECT command FROM cron.job WHERE jobid = $id"), "SELECT public.invoke_cron_endpoint('/api/cron/x')", '... and turns the job into one of our calls');
    is($node->safe_psql('postgres', "SELECT count(*) FROM cron.job_run_details WHERE command LIKE '%ear%'"), 0, "... and removes the secret from pg_cron's history");
    $doctor->green('secret_in_jobs', 'after the hint');
}
$node->safe_psql('postgres', q{SELECT cron.schedule('clean', '0 0 1 1 *', $$SELECT net.http_get('x', headers := jsonb_build_object('Authorization', 'Bearer ' || current_setting('app.settings.cron_secret')))$$)});
$doctor->green('secret_in_jobs', 'a command that reads the secret from the setting');

# pg_cron's history.
$node->safe_psql('postgres', "UPDATE cron.job_run_details SET start_time = now() - interval '100 days', end_time = now() - interval '100 days'");
$doctor->red_then_green('pg_cron_history', 'warning', qr/oldest run is from \d{4}-/, "pg_cron's history with old runs");
is($node->safe_psql('postgres', 'SELECT string_agg(status, $$ $$) FROM (SELECT * FROM wee5_cron.doctor_history(max_bytes => 1000) UNION ALL SELECT * FROM wee5_cron.doctor_pg_cron_history(max_bytes => 1000)) d'), 'warning warning', 'too large, however young');

unlike(slurp_file($node->logfile), qr/LOG:.*\Q$secret\E/, 'the log does not contain the secret');
$node->log_is_sane;
done_testing();
