# The library is new, and a database still has the SQL of 0.1.0: until ALTER EXTENSION wee5_cron UPDATE it makes its calls
# as before. A restart and the update come while calls are made: no call is lost, and none is sent twice. The test needs
# only the SQL of 0.1.0, which never changes, not its library.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;
use Wee5Cron::Audit;

my $receiver = Wee5Cron::Receiver->start(secret => 'the secret');
my $pg_net   = pg_net_available();
my $node     = Wee5Cron::Node->start_new('main',
    preload => 'pg_cron,' . ($pg_net ? 'pg_net,' : '') . 'wee5_cron',
    conf    => 'wee5_cron.max_in_flight = 50' . ($pg_net ? "\npg_net.database_name = 'postgres'" : ''));
$node->safe_psql('postgres', 'CREATE EXTENSION pg_net') if $pg_net;
note($pg_net ? 'postgres uses pg_net, builtin the builtin transport' : 'pg_net is not available: both databases use the builtin transport');
my @both = qw(postgres builtin);
$node->install($_, version => '0.1.0', api_url => $receiver->url, secret => 'the secret') for @both;

sub ends_with {
    my ($id, $expected, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return fields_are($node->finished('builtin', $id), $expected, $name);
}

# The ways in which a call can end.
{
    is($node->safe_psql('builtin', "SELECT extversion FROM pg_extension WHERE extname = 'wee5_cron'"), '0.1.0', 'the SQL is that of 0.1.0');
    ends_with($node->call('builtin', '/status/200'), { status => 'succeeded', http_status => 200, attempts => 1 }, 'with the SQL of 0.1.0 a call succeeds');
    ends_with($node->call('builtin', '/status/404'), { status => 'failed', reason => 'http', http_status => 404 }, '... and a call fails');
    $node->policy('builtin', '/statuses/503,200', retry_delays => '{10ms}');
    ends_with($node->call('builtin', '/statuses/503,200'), { status => 'succeeded', attempts => 2 }, '... and a call is retried');
    is($node->error_of('builtin', "CALL wee5_cron.run('/status/200')"), undef, 'run() waits for its call');
    fields_are($node->error_of('builtin', "CALL wee5_cron.run('/status/404')"), { sqlstate => '38000' }, '... and raises an error if it fails');
    my $again = $node->safe_psql('builtin', "SELECT wee5_cron.retry(id) FROM wee5_cron.invocation WHERE http_status = 404 LIMIT 1");
    ends_with($again, { status => 'failed', http_status => 404 }, 'retry() makes the call again');
}
# Calls that the library itself ends.
{
    $node->policy('builtin', '/one/hang', overlap => 'skip');
    my $running = $node->call('builtin', '/one/hang');
    $receiver->wait_for_requests('/one/hang');
    # The worker checks a row that somebody else inserts.
    my $beside = $node->safe_psql('builtin', "INSERT INTO wee5_cron.invocation (endpoint_path, transport, exclusive) VALUES ('/one/hang', 'builtin', 'path') RETURNING id; SELECT wee5_cron.wake_worker()") =~ s/\D//gr;
    ends_with($beside, { status => 'skipped', reason => 'overlap', attempts => 0, error => qr{Call $running }, hint => qr/\w/ }, 'a call that would overlap is skipped');
    is($node->safe_psql('builtin', "SELECT wee5_cron.cancel($running)"), 't', 'cancel() of a call on the wire returns true');
    ends_with($running, { status => 'cancelled', reason => 'cancelled' }, '... and the call ends as cancelled');
    $node->policy('builtin', '/later/status/503', retry_delays => '{30min}');
    my $waiting = $node->call('builtin', '/later/status/503');
    $node->invocation_when('builtin', $waiting, "status = 'retrying'");
    is($node->safe_psql('builtin', "SELECT wee5_cron.cancel($waiting)"), 't', 'cancel() of a call that waits for its retry returns true');
    ends_with($waiting, { status => 'cancelled', reason => 'cancelled', hint => undef, error => qr{/later/status/503}, duration => qr/./ }, '... and the call ends as cancelled');
    my $unreadable = $node->safe_psql('builtin', <<'SQL') =~ s/\D//gr;
ALTER TABLE wee5_cron.invocation ALTER requested_by DROP NOT NULL;
INSERT INTO wee5_cron.invocation (endpoint_path, transport, requested_by) VALUES ('/unreadable', 'builtin', NULL) RETURNING id;
SELECT wee5_cron.wake_worker();
SQL
    ends_with($unreadable, { status => 'failed', reason => 'config', error => qr/requested_by/ }, 'a call whose row cannot be read ends');
    $node->safe_psql('builtin', 'DELETE FROM wee5_cron.invocation WHERE requested_by IS NULL; ALTER TABLE wee5_cron.invocation ALTER requested_by SET NOT NULL');
}
# What else the worker does: history, missed runs, alerts.
{
    $node->safe_psql('builtin', "INSERT INTO wee5_cron.invocation (endpoint_path, transport, status, requested_at, finished_at) SELECT '/old', 'builtin', 'succeeded', now() - interval '90 days', now() - interval '90 days' FROM generate_series(1, 300)");
    $node->set_server('wee5_cron.keep_failed', '10d');
    ok($node->poll_query_until('builtin', "SELECT count(*) = 1 FROM wee5_cron.invocation WHERE endpoint_path = '/old'"), 'with the SQL of 0.1.0 the worker prunes');
    $node->safe_psql('postgres', "SELECT wee5_cron.schedule('yearly', '0 0 1 1 *', '/yearly')");
    ok($node->poll_query_until('postgres', 'SELECT count(*) = 1 FROM wee5_cron.job_watch'), '... and looks for missed runs');
    $node->policy('builtin', '/alerted/status/500', alert_after => 1);
    $node->call('builtin', '/alerted/status/500');
    ok($node->poll_query_until('builtin', "SELECT told FROM wee5_cron.trouble WHERE name = '/alerted/status/500'"), '... and alerts of failures');
}
# What says that the update is due.
fields_are($node->one_row('builtin', "SELECT status, hint FROM wee5_cron.doctor() WHERE check_name = 'library_version'"),
    { status => 'error', hint => qr/ALTER EXTENSION wee5_cron UPDATE/ }, 'doctor() says that an update is due');
{
    my $pid = $node->worker_pid('builtin');
    kill 'TERM', $pid;
    $node->wait_for_worker('builtin', $pid);
    ends_with($node->call('builtin', '/status/200'), { status => 'succeeded' }, 'a call succeeds under another worker');
    my @said = slurp_file($node->logfile) =~ /the SQL of this database has version 0\.1\.0.*/g;
    is(scalar @said, 2, '... and the log says it once per database');
}

# A restart while calls are on the wire and others wait: those on the wire get another attempt, as after every restart.
$receiver->hold;
my $once = do {
    $node->policy('builtin', '/once/hang', retry_on => 'never');
    my $id = $node->call('builtin', '/once/hang');
    $receiver->wait_for_requests('/once/hang');
    $id;
};
my %restarted = (builtin => Wee5Cron::Audit->new($node, 'builtin', $receiver));
$restarted{builtin}->commit_calls(500);
$restarted{builtin}->wait_for_wire(49);
$node->restart;
ends_with($once, { status => 'failed', reason => 'lost', attempts => 1 }, "after a restart a call with retry_on = 'never' is lost");
is_deeply([ map { "$_->{attempt} $_->{reason} $_->{error}" } $node->attempts('builtin', $once) ], [ '1 lost ' . $node->invocation('builtin', $once)->{error} ], '... and so is its attempt');
$receiver->release_for_good;
$restarted{builtin}->nothing_is_lost('a restart');
is($restarted{builtin}->repeats, 49, '... and 49 calls on the wire were sent again');

# The update while others make calls, with calls on the wire.
sub flow {
    my ($database, $audit, $number) = @_;
    my $session = $node->background_psql($database);
    my $path    = "/hang?$audit->{name}-flow-$number-";
    # Goes on for a while after the update.
    $session->query_until(qr/flowing/, <<"SQL");
\\echo flowing
CREATE TEMP TABLE made (id bigint);
DO \$\$
DECLARE
  after int := 0;
BEGIN
  WHILE after < 30 LOOP
    INSERT INTO made SELECT invoke_cron_endpoint('$path' || after);
    COMMIT;
    after := after + (SELECT (extversion <> '0.1.0')::int FROM pg_extension WHERE extname = 'wee5_cron');
    PERFORM pg_sleep(0.02);
  END LOOP;
END
\$\$;
SQL
    return $session;
}
for my $database (@both) {
    my $transport = $node->safe_psql($database, 'SELECT wee5_cron.transport_of_a_get()');
    my $audit = Wee5Cron::Audit->new($node, $database, $receiver);
    $receiver->hold;
    my @sessions = map { flow($database, $audit, $_) } 1 .. 3;
    # pg_net takes no other calls until the ones it has taken are answered.
    $audit->wait_for_wire($transport eq 'pg_net' ? 1 : 20);
    $audit->{may_repeat} = {};
    is($node->error_of($database, 'ALTER EXTENSION wee5_cron UPDATE'), undef, "$transport: ALTER EXTENSION wee5_cron UPDATE succeeds while calls are on the wire and others are made");
    $receiver->release_for_good;
    for my $session (@sessions) {
        $audit->was_committed(split /\n/, $session->query_safe('SELECT id FROM made'));
        $session->quit;
    }
    cmp_ok(scalar(keys %{ $audit->{committed} }), '>', 90, '... and more than ninety calls were made meanwhile');
    $audit->nothing_is_lost("$transport: an update");
    is($audit->repeats, 0, '... and no call was sent twice');
    is($node->finished($database, $node->call($database, '/status/200'))->{status}, 'succeeded', '... and the next call succeeds');
    is($node->safe_psql($database, 'SELECT wee5_cron.is_armed()'), 't', '... and the database is armed');
}
$node->log_is_sane;
done_testing();
