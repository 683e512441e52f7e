# disarm() for a database and wee5_cron.enabled for the whole server: new calls raise an error, queued calls wait, and
# requests on the wire end and are recorded. When calls are on again, everything is sent. On both transports. doctor() says
# which of the two switches is off.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Doctor;
use Wee5Cron::Test;

my $receiver = Wee5Cron::Receiver->start(secret => 'the secret');
my $node     = Wee5Cron::Node->start_new('main');
$node->install($_, api_url => $receiver->url, secret => 'the secret') for qw(postgres app);
$node->safe_psql('app', q{CREATE ROLE operator LOGIN; CREATE ROLE caller LOGIN;
    SELECT wee5_cron.grant_to('operator', 'operate'), wee5_cron.grant_to('caller', 'call')});
my $doctor = Wee5Cron::Doctor->new($node, 'app');

sub worker_says {
    my ($pattern) = @_;
    return $node->poll_query_until('app', "SELECT state = 'blocked' AND last_error ~ '$pattern' FROM wee5_cron.worker WHERE datname = 'app'");
}

# One call on the wire, one that waits for a slot in the worker's memory, one that waits for its retry.
$node->policy('app', '/status/503', max_attempts => 2, retry_delays => '{1min}');
sub prepare {
    my ($round) = @_;
    my %call = (retrying => $node->call('app', "/status/503?round=$round"));
    $node->invocation_when('app', $call{retrying}, "status = 'retrying'");
    $receiver->hold;
    $call{hanging} = $node->block_the_wire('app', $receiver);
    $call{queued}  = $node->call('app', "/queued/$round");
    $node->invocation_when('app', $call{hanging}, "status = 'sending'");
    return %call;
}
sub stands_still {
    my ($round, %call) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    $receiver->release_for_good;
    is($node->finished('app', $call{hanging})->{status}, 'succeeded', 'a call on the wire ends and is recorded');
    # The retry has come due meanwhile, but is not sent.
    $node->safe_psql('app', "UPDATE wee5_cron.invocation SET next_attempt_at = now() WHERE id = $call{retrying}");
    is($node->safe_psql('app', 'SELECT wee5_cron.harvest()'), 0, 'harvest() hands over nothing while calls are off');
    is($node->invocation('app', $call{queued})->{status}, 'queued', 'a queued call stays queued');
    is($node->invocation('app', $call{retrying})->{attempts}, 1, '... and a call that waits for its retry keeps waiting');
    is(scalar(() = $receiver->requests("/queued/$round")), 0, '... and the app gets no request');
    return;
}
# Nothing sends the call, so wait_for() does not wait for it.
sub is_not_waited_for {
    my ($id, $message) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    $node->raises('app', "SELECT wee5_cron.wait_for($id, '1 hour')", '55000', 'wait_for() of a call that nothing sends is an error', message => $message, hint => qr/\w/);
    is($node->safe_psql('app', "SELECT status FROM wee5_cron.wait_for($id, '0')"), 'queued', '... and with timeout 0 it returns the row');
    return;
}
# run() is waiting for its call when calls are switched off.
sub begin_run {
    my ($path) = @_;
    my $session = $node->background_psql('app', on_error_stop => 0);
    $session->query_until(qr/begun/, "\\echo begun\nCALL wee5_cron.run('$path');\n");
    $node->poll_query_until('app', "SELECT count(*) = 1 FROM wee5_cron.invocation WHERE endpoint_path = '$path'") or die 'run() made no call';
    return $session;
}
sub run_ends_with {
    my ($session, $message) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    $session->query('SELECT 1');
    like($session->{stderr}, $message, 'a waiting run() ends with the same error');
    $session->{stderr} = '';
    $session->quit;
    return;
}
sub goes_on {
    my ($round, %call) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is($node->finished('app', $call{queued})->{status}, 'succeeded', 'when calls are on again the queued call succeeds');
    is($node->finished('app', $call{retrying})->{attempts}, 2, '... and the due retry is made');
    is(scalar(() = $receiver->requests("/queued/$round")), 1, '... and each is sent once');
    $node->poll_query_until('app', q{SELECT state = 'idle' AND coalesce(last_error, '') = '' FROM wee5_cron.worker WHERE datname = 'app'}) or fail('the worker has no error and is idle');
    return;
}

# Calls are off for the database.
my $done = $node->call('app', '/first');
$node->finished('app', $done);
my %call = prepare(1);
my $run = begin_run('/waits/1');
$node->psql_as('operator', 'app', q{SELECT wee5_cron.disarm('moving house')});
run_ends_with($run, qr/ERROR:  database "app" is disarmed/);
is_not_waited_for($call{queued}, qr/"app" is disarmed/);
ok(worker_says('^disarmed: disarm\(\) was called'), "after disarm() the worker's error says so");
$node->raises('app', q{SELECT invoke_cron_endpoint('/x')}, '55000', 'after disarm() a call is an error', role => 'caller', message => qr/"app" is disarmed/,
    hint => qr/SELECT wee5_cron\.arm\(\);/);
$node->raises('app', q{SELECT wee5_cron.invoke('/x', 'POST')}, '55000', 'after disarm() invoke() raises');
$node->raises('app', q{CALL wee5_cron.run('/x')}, '55000', 'after disarm() run() raises');
$node->raises('app', "SELECT wee5_cron.retry($done)", '55000', 'after disarm() retry() raises');
$doctor->red('armed', 'error', qr/was disarmed at \d{4}-.* by "operator" \(moving house\), and makes no calls; queued calls: \d+$/, 'disarm() with a note');
$node->raises('app', $_, '42501', "a caller may not $_", role => 'caller') for 'SELECT wee5_cron.disarm()', 'SELECT wee5_cron.arm()';
stands_still(1, %call);
is($node->finished('postgres', $node->call('postgres', '/other'))->{status}, 'succeeded', 'calls of other databases succeed');
$node->psql_as('operator', 'app', q{SELECT wee5_cron.disarm()});
$doctor->red('armed', 'error', qr/by "operator" \(moving house\)/, 'a second disarm(), which keeps note and time,');
$node->restart;
$node->wait_for_worker('app');
ok(worker_says('^disarmed'), 'after a restart the database is still disarmed');
my ($status, undef, $stderr) = $node->psql('app', 'SELECT wee5_cron.arm()', extra_params => [ '-U', 'operator' ]);
like($stderr, qr/NOTICE:  overdue calls to be sent now: 3\n.*discard => true/s, 'arm() says how many overdue calls are sent now');
goes_on(1, %call);
$doctor->green('armed', 'after arm()');

# A transaction that began before disarm().
$node->safe_psql('app', q{SELECT wee5_cron.disarm('at repeatable read')});
$node->safe_psql('app', 'SELECT wee5_cron.arm()');
my $session = $node->background_psql('app', on_error_stop => 0);
$session->query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM wee5_cron.armed');
$node->safe_psql('app', 'SELECT wee5_cron.disarm()');
$session->query(q{SELECT invoke_cron_endpoint('/late')});
like($session->{stderr}, qr/is disarmed/, 'disarm() applies at once, even in a REPEATABLE READ transaction');
$session->{stderr} = '';
$session->query('ROLLBACK');
$session->quit;
$node->safe_psql('app', 'SELECT wee5_cron.arm()');

# arm(discard).
%call = prepare(2);
$node->safe_psql('app', 'SELECT wee5_cron.disarm()');
stands_still(2, %call);
(undef, undef, $stderr) = $node->psql('app', 'SELECT wee5_cron.arm(discard => true)');
like($stderr, qr/NOTICE:  cancelled calls: 2$/m, 'arm(discard) says how many calls it cancels');
fields_are($node->invocation('app', $_), { status => 'cancelled', reason => 'cancelled', next_attempt_at => undef }, '... and cancels them') for @call{qw(queued retrying)};
is($node->finished('app', $node->call('app', '/new'))->{status}, 'succeeded', '... and new calls succeed');
is(scalar(() = $receiver->requests('/queued/2')), 0, '... and no cancelled call is sent');

# Calls are off for the server.
%call = prepare(3);
$run = begin_run('/waits/3');
$node->set_server('wee5_cron.enabled', 'off');
run_ends_with($run, qr/ERROR:  wee5_cron\.enabled is off/);
is_not_waited_for($call{queued}, qr/wee5_cron\.enabled is off/);
ok(worker_says('^disabled: wee5_cron.enabled is off'), "with wee5_cron.enabled = off the worker's error says so");
for my $database (qw(app postgres)) {
    $node->raises($database, q{SELECT invoke_cron_endpoint('/x')}, '55000', "with wee5_cron.enabled = off a call in $database is an error", message => qr/wee5_cron\.enabled is off/,
        hint => qr/ALTER SYSTEM SET wee5_cron\.enabled = on; SELECT pg_reload_conf\(\);/);
}
stands_still(3, %call);
$doctor->green('armed', 'with wee5_cron.enabled = off');
my $hint = $doctor->red('enabled', 'error', qr/is off: no database of this server makes calls/, 'wee5_cron.enabled = off');
$doctor->paste($hint, 'wee5_cron.enabled = off: the hint runs as SQL');
goes_on(3, %call);
$doctor->green('enabled', 'after the hint');
$node->raises('app', $_, '55P02', "$_ is refused: the setting is the server's")
  for 'SET wee5_cron.enabled = off', 'ALTER DATABASE app SET wee5_cron.enabled = off';

# Off when the server starts, with something queued; then on without a restart, and without a new call.
%call = prepare(4);
$node->append_conf('postgresql.conf', 'wee5_cron.enabled = off');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET wee5_cron.enabled; SELECT pg_reload_conf()');
ok(worker_says('^disabled'), "with wee5_cron.enabled = off in the configuration file the worker's error says so");
stands_still(4, %call);
$node->restart_immediately;
$node->poll_query_until('postgres', 'SELECT true');
$node->raises('app', q{SELECT invoke_cron_endpoint('/x')}, '55000', 'after a restart a call still raises');
is($node->invocation('app', $call{queued})->{status}, 'queued', '... and the queued call is not sent');
$node->set_server('wee5_cron.enabled', 'on');
goes_on(4, %call);

# pg_net.
$node->safe_psql('app', q{CREATE EXTENSION pg_net VERSION 'wee5fixture'; ALTER DATABASE app SET wee5_cron.transport = 'pg_net'});
for my $switch ([ 'SELECT wee5_cron.disarm()', 'SELECT wee5_cron.arm()' ],
    [ 'ALTER SYSTEM SET wee5_cron.enabled = off', 'ALTER SYSTEM SET wee5_cron.enabled = on' ]) {
    $node->policy('app', '/on-pg-net', max_attempts => 3, retry_delays => '{10ms}', retry_on => 'transient');
    my $answered = $node->call('app', '/on-pg-net');
    my $request  = $node->safe_psql('app', "SELECT request_id FROM wee5_cron.pg_net_request WHERE invocation_id = $answered");
    $node->safe_psql('app', $switch->[0]);
    $node->safe_psql('app', 'SELECT pg_reload_conf()');
    $node->poll_query_until('app', q{SELECT NOT wee5_cron.may_call()});
    $node->raises('app', q{SELECT invoke_cron_endpoint('/x')}, '55000', "on pg_net, $switch->[0]: a call is refused");
    $node->safe_psql('app', "DELETE FROM net.http_request_queue WHERE id = $request; INSERT INTO net._http_response (id, status_code, timed_out, created) VALUES ($request, 503, false, now())");
    $node->safe_psql('app', 'SELECT wee5_cron.harvest()');
    $node->invocation_when('app', $answered, "status = 'retrying' AND next_attempt_at < clock_timestamp()");
    ok(1, '... and an answer is still recorded');
    $node->safe_psql('app', 'SELECT wee5_cron.harvest()');
    is($node->safe_psql('app', "SELECT count(*) FROM wee5_cron.pg_net_request WHERE invocation_id = $answered"), 0, '... and a due retry is not handed over');
    $node->safe_psql('app', $switch->[1]);
    $node->safe_psql('app', 'SELECT pg_reload_conf()');
    $node->poll_query_until('app', 'SELECT wee5_cron.may_call()');
    $node->safe_psql('app', 'SELECT wee5_cron.harvest()');
    $node->poll_query_until('app', "SELECT count(*) = 1 FROM wee5_cron.pg_net_request WHERE invocation_id = $answered") or die 'was not handed over';
    ok(1, '... and is handed over once calls are on again');
    $node->safe_psql('app', "SELECT wee5_cron.cancel($answered)");
}

# The schema has another name.
$node->safe_psql('app', 'ALTER DATABASE app RESET wee5_cron.transport; ALTER SCHEMA wee5_cron RENAME TO hidden');
$node->raises('app', q{SELECT invoke_cron_endpoint('/x')}, '55000', 'after ALTER SCHEMA wee5_cron RENAME a call is an error', message => qr/the schema wee5_cron was renamed/,
    hint => qr/^ALTER SCHEMA hidden RENAME TO wee5_cron;$/);
$node->poll_query_until('postgres', q{SELECT last_error ~ '^disarmed: the schema wee5_cron was renamed' FROM wee5_cron.worker WHERE datname = 'app'}) or fail('the worker does not report the renamed schema');
$node->safe_psql('app', $node->error_of('app', q{SELECT invoke_cron_endpoint('/x')})->{hint});
is($node->finished('app', $node->call('app', '/back'))->{status}, 'succeeded', 'after the hint for a renamed schema calls succeed');

# A copy of the data directory makes calls, and doctor() warns of it.
$doctor->green('physical_clone', 'on the server where it was armed');
$node->append_conf('postgresql.conf', "wal_level = replica\nmax_wal_senders = 5\nhot_standby = on");
$node->restart;
$node->backup('base');
my $clone = Wee5Cron::Node->new('clone');
$clone->init_from_backup($node, 'base');
$clone->append_conf('postgresql.conf', 'wee5_cron.enabled = off');
$clone->set_recovery_mode;
$clone->append_conf('postgresql.conf', "restore_command = 'false'\nrecovery_target_timeline = latest");
$clone->start;
$clone->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()');
my $of_clone = Wee5Cron::Doctor->new($clone, 'app');
is($clone->safe_psql('app', 'SELECT wee5_cron.is_armed()'), 't', 'a physical clone is armed');
$hint = $of_clone->red('physical_clone', 'warning', qr/timeline is 2, and was 1 when/, 'a physical clone');
my $id = $clone->safe_psql('app', q{SELECT encode(id, 'hex') FROM wee5_cron.arming});
is($id, $node->safe_psql('app', q{SELECT encode(id, 'hex') FROM wee5_cron.arming}), "... and it has the original's random bytes for keys");
my ($armed_at) = $clone->safe_psql('app', 'SELECT DISTINCT armed_at FROM wee5_cron.armed');
$of_clone->paste($hint, 'a physical clone: the hint runs as SQL');
$of_clone->green('physical_clone', 'after the hint');
is($clone->safe_psql('app', q{SELECT DISTINCT armed_at FROM wee5_cron.armed}), $armed_at, '... and the time of arming is unchanged');
is($clone->safe_psql('app', q{SELECT encode(id, 'hex') FROM wee5_cron.arming}), $id, '... and so are the random bytes');
$clone->safe_psql('app', q{SELECT wee5_cron.disarm('staging')});
$of_clone->green('physical_clone', 'a physical clone that is disarmed', qr/see armed/);

$_->log_is_sane($_->name . ': the log records no crash') for $node, $clone;
done_testing();
