# wee5_cron without shared_preload_libraries: some things work, and the others say what to do. pg_net carries the calls, and
# a job of pg_cron records their answers: its tick is awaited once.
use strict;
use warnings;

# A tick is up to a minute away.
BEGIN { $ENV{PG_TEST_TIMEOUT_DEFAULT} ||= 130 }

use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;

my $secret   = 'canary-without-preload';
my $receiver = Wee5Cron::Receiver->start(secret => $secret);
my $evil     = Wee5Cron::Receiver->start(secret => $secret);
my @profiles = map { "CREATE ROLE $_ LOGIN;" } qw(caller operator nobody);
push @profiles, "SELECT wee5_cron.grant_to('caller', 'call'); SELECT wee5_cron.grant_to('operator', 'operate');";

# Statements that remove the extension, whatever carries the calls.
sub goes_away {
    my ($node, $of) = @_;
    is($node->error_of('postgres', 'SELECT wee5_cron.unregister_jobs(); DROP EXTENSION wee5_cron'), undef, "$of: unregister_jobs() and DROP EXTENSION succeed");
    is($node->safe_psql('postgres', "SELECT count(*) FROM cron.job WHERE command ~ 'invoke_cron_endpoint|wee5_cron'"), 0, '... and leave none of our jobs');
    is($node->safe_psql('postgres', "SELECT count(*) FROM pg_namespace WHERE nspname = 'wee5_cron'"), 0, '... and leave no schema wee5_cron');
    is($node->error_of('postgres', 'CREATE EXTENSION wee5_cron'), undef, '... and CREATE EXTENSION succeeds again');
    return;
}

# With pg_cron alone, no transport works.
{
    my $node = Wee5Cron::Node->start_new('alone', preload => 'pg_cron');
    $node->install('postgres', api_url => $receiver->url, secret => $secret);
    $node->safe_psql('postgres', "@profiles");
    is($node->safe_psql('postgres', 'SELECT string_agg(jobname, $$ $$ ORDER BY jobname) FROM cron.job'), 'daily-analytics poll-activities welcome-emails',
        'CREATE EXTENSION without pg_net makes the three jobs and no harvest job');
    for my $statement ("SELECT invoke_cron_endpoint('/x')", "SELECT wee5_cron.invoke('/x', 'POST')", "CALL wee5_cron.run('/x')", "SELECT wee5_cron.run_now('poll-activities')") {
        $node->raises('postgres', $statement, '55000', "not preloaded, without pg_net: $statement",
            message => qr/needs wee5_cron in shared_preload_libraries/, hint => qr/shared_preload_libraries = '.*wee5_cron'.*pg_net/s);
    }
    is($node->safe_psql('postgres', 'SELECT count(*) FROM wee5_cron.invocation'), 0, '... and leaves no row');
    is($node->psql_as('operator', 'postgres', 'SELECT count(*) FROM wee5_cron.worker'), 0, 'without the preloaded library the view worker is empty');
    is($node->psql_as('operator', 'postgres', 'SELECT string_agg(DISTINCT state, $$ $$) FROM wee5_cron.job_status'), 'never_ran', 'without the preloaded library the view job_status works');
    is($node->psql_as('operator', 'postgres', 'SELECT wee5_cron.harvest()'), 0, 'without pg_net harvest() records nothing');
    # Nothing sends a call that a worker left queued. It can still be cancelled.
    my $left = $node->safe_psql('postgres', "INSERT INTO wee5_cron.invocation (endpoint_path, transport, status, attempts) VALUES ('/left', 'builtin', 'sending', 1) RETURNING id");
    is($node->psql_as('operator', 'postgres', "SELECT wee5_cron.cancel($left)"), 't', 'cancel() needs no worker');
    fields_are($node->invocation('postgres', $left), { status => 'cancelled', reason => 'cancelled', error => qr{^The call of /\S+ was cancelled\.$}, finished_at => qr/^2/ }, '... and it ends the call at once');
    is($node->safe_psql('postgres', "SELECT wee5_cron.cancel($left), count(*) FROM wee5_cron.cancellation"), 'f|0', 'a second cancel() does nothing and leaves no cancellation');
    $node->safe_psql('postgres', 'DELETE FROM wee5_cron.invocation');
    $node->raises('postgres', 'SELECT wee5_cron.wait_for(1)', '02000', 'wait_for() of an id without a row says that the call is unknown');
    goes_away($node, 'with pg_cron alone');
    $node->log_is_sane;
    $node->stop;
}

SKIP: {
    skip 'pg_net not available' unless pg_net_available();
    my $node = Wee5Cron::Node->start_new('with_pg_net', preload => 'pg_cron,pg_net', conf => "pg_net.database_name = 'postgres'");
    $node->safe_psql('postgres', 'CREATE EXTENSION pg_net');
    my $answered = sub {
        my ($path, $role) = @_;
        my $id = $role ? $node->psql_as($role, 'postgres', "SELECT invoke_cron_endpoint('$path')") : $node->call('postgres', $path);
        $node->poll_query_until('postgres', "SELECT count(*) = 1 FROM wee5_cron.pg_net_request b JOIN net._http_response r ON r.id = b.request_id WHERE b.invocation_id = $id")
          or die "pg_net did not answer $path";
        return $id;
    };

    # A retry is sent when the transaction that handed it over commits, so wait_for() would wait for its own transaction.
    for my $version ('0.1.0', undef) {
        my $sql = 'the SQL of ' . ($version // 'this version');
        $node->install('postgres', api_url => $receiver->url, secret => $secret, pg_cron => 0, version => $version);
        my $path = '/of/' . ($version // 'now') . '/statuses/503,200';
        $node->policy('postgres', $path, retry_delays => '{500ms}');
        my $retried = $answered->($path);
        my $waited  = "SELECT status, attempts FROM wee5_cron.wait_for($retried, '300 ms')";
        is($node->safe_psql('postgres', $waited), 'queued|0', "$sql: wait_for() leaves an answer that asks for a retry to harvest()");
        is($node->safe_psql('postgres', 'SELECT wee5_cron.harvest(); ' . $waited), "0\nretrying|1", '... and harvest() records that answer');
        ok($node->poll_query_until('postgres', "SELECT wee5_cron.harvest() IS NOT NULL AND next_attempt_at IS NULL FROM wee5_cron.invocation WHERE id = $retried"), '... and makes the retry');
        is($node->safe_psql('postgres', $waited =~ s/300 ms/1 minute/r), 'succeeded|2', '... and wait_for() records the answer of the retry, which ends the call');
        $node->safe_psql('postgres', 'DROP EXTENSION wee5_cron') if $version;
    }
    $node->safe_psql('postgres', "@profiles");

    # wait_for() records the answer to its own call where it may write and sees new rows. Otherwise it waits for harvest().
    my $id = $answered->('/status/201', 'caller');
    for my $mode ('READ ONLY', 'ISOLATION LEVEL REPEATABLE READ', 'ISOLATION LEVEL SERIALIZABLE') {
        is($node->safe_psql('postgres', "BEGIN $mode; SELECT id, status, finished_at IS NULL FROM wee5_cron.wait_for($id, '300 ms'); COMMIT"), "$id|queued|t",
            "BEGIN $mode: wait_for() records nothing and ends at its timeout");
    }
    is($node->psql_as('caller', 'postgres', "SELECT status, http_status FROM wee5_cron.wait_for($id)"), 'succeeded|201', 'wait_for() records the answer of its own call');
    is($node->safe_psql('postgres', "SELECT status FROM wee5_cron.invocation WHERE id = $id"), 'succeeded', '... for every session');
    $id = $answered->('/status/202');
    is($node->safe_psql('postgres', "BEGIN; SELECT status FROM wee5_cron.wait_for($id); ROLLBACK; SELECT status FROM wee5_cron.invocation WHERE id = $id"), "succeeded\nqueued",
        'wait_for() in a transaction that is rolled back records nothing');
    is($node->safe_psql('postgres', "SELECT status FROM wee5_cron.wait_for($id)"), 'succeeded', '... and the next wait_for() does');
    for my $case ([ 'wait_for', "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM wee5_cron.invocation; SELECT 'got ' || status FROM wee5_cron.wait_for(%s);", 'got succeeded' ],
        [ 'run()', "SET default_transaction_isolation = 'repeatable read'; CALL wee5_cron.run('/status/203'); SELECT 'got ' || status FROM wee5_cron.invocation WHERE endpoint_path = '/status/203';", 'got succeeded' ]) {
        my ($what, $sql, $expected) = @$case;
        $id = $answered->('/status/200') if $sql =~ /%s/;
        my $session = $node->background_psql('postgres');
        $session->query_until(qr/asked/, "\\echo asked\n" . ($sql =~ s/%s/$id/r) . "\n\\echo ended\n");
        $node->poll_query_until('postgres', 'SELECT count(*) = 1 FROM wee5_cron.pg_net_request b JOIN net._http_response r ON r.id = b.request_id');
        is($node->safe_psql('postgres', 'SELECT wee5_cron.harvest()'), 1, "REPEATABLE READ: harvest() records an answer, since $what does not");
        like($session->query_until(qr/ended/, ''), qr/$expected/, "... and $what sees what harvest() has recorded");
        $session->quit;
    }
    is($node->error_of('postgres', "CALL wee5_cron.run('/status/200')", role => 'caller'), undef, 'run() records the answer of its own call');
    $node->raises('postgres', "CALL wee5_cron.run('/status/500')", '38000', 'run() reports a failure', role => 'caller', message => qr/answered 500/);
    is($node->safe_psql('postgres', "SELECT status FROM wee5_cron.invocation WHERE endpoint_path = '/status/500'"), 'failed', 'a call of run() that fails is recorded, too');
    $node->raises('postgres', "SELECT wee5_cron.invoke('/x', 'PUT')", '55000', 'a PUT is an error without the preloaded library', hint => qr/shared_preload_libraries/);

    # The settings exist only once a session has loaded the library. A value that the session set before must not decide where the
    # secret goes.
    my $elsewhere = $evil->url;
    $id = $node->psql_as('caller', 'postgres', "SET app.settings.api_url = '$elsewhere'; SET wee5_cron.allow_plain_http = 'on'; SET wee5_cron.transport = 'builtin'; SELECT invoke_cron_endpoint('/led-astray')");
    is($node->safe_psql('postgres', "SELECT url, transport FROM wee5_cron.invocation WHERE id = $id"), $receiver->url . '/led-astray|pg_net', "a caller's own api_url and transport have no effect");
    is($node->psql_as('nobody', 'postgres', 'SHOW app.settings.cron_secret'), $secret, 'without the preloaded library every role may SHOW the secret');
    is($node->psql_as('caller', 'postgres', "SELECT finished_at IS NOT NULL FROM wee5_cron.wait_for($id); SHOW app.settings.cron_secret"), "t\n$secret", '... and so it may in a session that has loaded the library');
    is($node->psql_as('operator', 'postgres', 'SELECT count(*) FROM wee5_cron.worker'), 0, 'the view worker is empty');

    # The tick.
    $node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION pg_cron; GRANT USAGE ON SCHEMA cron TO caller;
SELECT wee5_cron.register_jobs();
SELECT cron.schedule('does-not-wait', '* * * * *', $$SELECT invoke_cron_endpoint('/status/502')$$);
SQL
    $node->psql_as('caller', 'postgres', q{SELECT cron.schedule('waits', '* * * * *', $$CALL wee5_cron.run('/status/501')$$)});
    is($node->safe_psql('postgres', "SELECT schedule, command FROM cron.job WHERE jobname = 'wee5-cron-harvest'"), '* * * * *|SELECT wee5_cron.harvest()', 'register_jobs() with pg_net makes the harvest job');
    $id = $answered->('/status/204');
    fields_are($node->finished('postgres', $id), { status => 'succeeded', http_status => 204, transport => 'pg_net' }, 'on the tick the harvest job records an answer');
    $node->poll_query_until('postgres', "SELECT count(*) = 2 FROM cron.job_run_details JOIN cron.job USING (jobid) WHERE jobname = 'wee5-cron-harvest' AND status = 'succeeded' OR jobname = 'waits' AND status = 'failed'")
      or diag('harvest and the waiting job did not end');
    $node->safe_psql('postgres', "UPDATE cron.job SET schedule = '0 0 1 1 *'");
    like($node->safe_psql('postgres', "SELECT d.return_message FROM cron.job_run_details d JOIN cron.job USING (jobid) WHERE jobname = 'waits' ORDER BY runid LIMIT 1"),
        qr{call \d+ of /status/501 failed: The app answered 501}, 'a job that waits for its answer fails with it');
    $id = $node->safe_psql('postgres', "SELECT min(id) FROM wee5_cron.invocation WHERE endpoint_path = '/status/502'");
    $node->poll_query_until('postgres', "SELECT wee5_cron.harvest() IS NOT NULL AND finished_at IS NOT NULL FROM wee5_cron.invocation WHERE id = $id");
    $node->poll_query_until('postgres', 'SELECT wee5_cron.harvest() IS NOT NULL AND NOT EXISTS (SELECT FROM wee5_cron.cron_caller)');
    fields_are($node->one_row('postgres', "SELECT i.*, i.cron_run_id = (SELECT min(runid) FROM cron.job_run_details JOIN cron.job USING (jobid) WHERE jobname = i.job_name) AS of_its_run FROM wee5_cron.invocation i WHERE endpoint_path = '$_->[1]' ORDER BY id LIMIT 1"),
        { status => 'failed', http_status => $_->[1] =~ s/\D//gr, job_name => $_->[0], scheduled_at => qr/:00/, of_its_run => 1 }, "the row of the job $_->[0] is bound to its run")
      for [ 'waits', '/status/501' ], [ 'does-not-wait', '/status/502' ];
    my $failed = $node->safe_psql('postgres', "SELECT count(*) FROM wee5_cron.invocation WHERE job_name = 'waits'");
    fields_are($node->one_row('postgres', "SELECT * FROM wee5_cron.job_status WHERE job_name = 'waits'"), { state => 'failing', last_http_status => 501, consecutive_failures => $failed },
        'job_status counts call and run once');
    is($node->safe_psql('postgres', "SELECT count(*) FROM wee5_cron.job_status WHERE job_name = 'wee5-cron-harvest'"), 0, '... and leaves out the job that harvests');
    is(scalar(my @astray = $evil->requests), 0, 'no request is sent to the address that a caller set');
    is($node->safe_psql('postgres', "SELECT cron.unschedule(jobid) FROM cron.job WHERE jobname IN ('waits', 'does-not-wait')"), "t\nt", 'jobs made by hand are removed by hand');
    goes_away($node, 'with pg_net');
    $node->log_is_sane;
}

done_testing();
