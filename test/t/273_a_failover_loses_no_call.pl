# 5,000 calls are queued and 200 are on the wire when the primary is killed and its synchronous standby is promoted. Results
# reach the standby before more are written, so only calls that were on the wire or answered in the last moment are sent
# again. While a commit waits for a standby that is silent or gone, nothing is sent.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;
use Wee5Cron::Audit;

my $receiver = Wee5Cron::Receiver->start(secret => 'the secret');
my $primary = Wee5Cron::Node->new_configured('primary', init => { allows_streaming => 1 },
    conf => "wee5_cron.max_in_flight = 200\nwal_sender_timeout = 0");
$primary->start;
$primary->install('postgres', api_url => $receiver->url, secret => 'the secret');
# Calls of this path are sent at most once, whatever happens.
$primary->policy('postgres', '/once/hang', retry_on => 'never');
$primary->backup('base');
my $standby = Wee5Cron::Node->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->append_conf('postgresql.conf', "primary_conninfo = '" . $primary->connstr . " application_name=standby'\nwal_receiver_timeout = 0");
$standby->start;
$primary->set_server('synchronous_standby_names', 'standby');

sub standby_is_synchronous {
    $primary->poll_query_until('postgres', "SELECT sync_state = 'sync' FROM pg_stat_replication") or die "the standby is not synchronous\n";
    return;
}

sub recorded {
    my ($path) = @_;
    return $primary->safe_psql('postgres', "SELECT count(*) FROM wee5_cron.invocation WHERE endpoint_path LIKE '$path' AND finished_at IS NOT NULL");
}

# A session may choose not to wait for the standby.
sub calls_unconfirmed {
    my ($path, $count) = @_;
    return $primary->safe_psql('postgres',
        "SET synchronous_commit = local; SELECT count(invoke_cron_endpoint('$path')) FROM generate_series(1, $count)");
}

my $late = 0;

# Makes calls that no standby confirms, until the worker sends nothing more.
sub calls_until_blocked {
    my $until = time + $PostgreSQL::Test::Utils::timeout_default;
    while ($primary->safe_psql('postgres', "SELECT state FROM wee5_cron.worker WHERE datname = 'postgres'") ne 'blocked') {
        die "it sends on and on\n" if time > $until;
        $late += calls_unconfirmed('/late', 1);
    }
    return;
}

# For as long as this test looks.
sub nothing_is_sent {
    my ($when) = @_;
    my $sent = $receiver->wait_for_all_sent_by($primary, 'postgres');
    my $id = $primary->safe_psql('postgres', "SET synchronous_commit = local; SELECT invoke_cron_endpoint('/late')");
    $late++;
    is($primary->safe_psql('postgres', "SELECT status FROM wee5_cron.wait_for($id, '2 seconds')"), 'queued', "$when, a new call stays queued");
    is(scalar(() = $receiver->requests), $sent, '... and nothing at all is sent');
    fields_are($primary->one_row('postgres', "SELECT * FROM wee5_cron.worker WHERE datname = 'postgres'"),
        { state => 'blocked', last_error => qr/synchronous standby/ }, '... and the worker says why');
    return;
}
standby_is_synchronous();

# The standby is connected, but stops receiving. Its primary does not know yet.
$receiver->hold;
my $stalled = Wee5Cron::Audit->new($primary, 'postgres', $receiver);
$stalled->commit_calls(1_000);
$stalled->wait_for_wire(200);
$primary->safe_psql('postgres', "SELECT count(invoke_cron_endpoint('/once/hang')) FROM generate_series(1, 20)");
my $walsender = $primary->safe_psql('postgres', 'SELECT pid FROM pg_stat_replication');
kill 'STOP', $walsender;
$primary->set_server('wee5_cron.max_in_flight', 220);
ok($primary->poll_query_until('postgres', "SELECT count(*) = 20 FROM wee5_cron.invocation WHERE endpoint_path = '/once/hang' AND status = 'sending'"),
    'while a standby receives nothing, calls that are sent at most once are claimed');
fields_are($primary->one_row('postgres', "SELECT * FROM wee5_cron.worker WHERE datname = 'postgres'"), { in_flight => 220, sent => 200 },
    '... and keep their slots while they wait for the standby');
$primary->set_server('wee5_cron.max_in_flight', 200);
$receiver->release_for_good;
calls_until_blocked();
cmp_ok(recorded('/hang?%'), '<', 1_000, '... and answers are not recorded, since the first ones are not on the standby yet');
nothing_is_sent('when the standby has been silent for a while');

# The standby receives again.
kill 'CONT', $walsender;
$receiver->wait_for_requests('/once/hang', 20);
$stalled->nothing_is_lost('the standby receives again');
is($stalled->repeats, 0, '... and no call is sent twice');
is(scalar(() = $receiver->requests('/once/hang')), 20, "... and each call of the path with retry_on = 'never' is sent once");
is($primary->safe_psql('postgres', "SELECT last_error IS NULL FROM wee5_cron.worker WHERE datname = 'postgres'"), 't', '... and the worker has no error any more');

# It falls silent again. Calls become visible that it lacks: a session that waits for it is cancelled, or ends, as all sessions
# do when the server stops; or a session does not wait.
for my $how (qw(pg_cancel_backend pg_terminate_backend local off)) {
    $primary->wait_until_all_finished('postgres');
    my $sender = $primary->safe_psql('postgres', 'SELECT pid FROM pg_stat_replication');
    kill 'STOP', $sender;
    my $calls   = "SELECT count(invoke_cron_endpoint('/status/200?$how')) FROM generate_series(1, 500);";
    my $session = $primary->background_psql('postgres', on_error_stop => 0);
    if ($how =~ /^pg_/) {
        $session->query_until(qr/asked/, "\\echo asked\n$calls\n");
        my $waiting = "FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND backend_type = 'client backend'";
        $primary->poll_query_until('postgres', "SELECT count(*) = 1 $waiting") or die "it does not wait\n";
        $primary->safe_psql('postgres', "SELECT $how(pid) $waiting");
    }
    else {
        $session->query_safe("SET synchronous_commit = $how; $calls");
    }
    $primary->poll_query_until('postgres', "SELECT count(*) = 500 FROM wee5_cron.invocation WHERE endpoint_path LIKE '%?$how'") or die "they are not visible\n";
    ok($primary->poll_query_until('postgres', "SELECT state = 'blocked' AND last_error ~ 'synchronous standby' FROM wee5_cron.worker WHERE datname = 'postgres'"),
        "$how: the worker finds that the standby is silent");
    is(scalar(grep { $_->{url} =~ /\?$how/ } $receiver->requests), 0, '... and sends no call that the standby lacks');
    kill 'CONT', $sender;
    $primary->wait_until_all_finished('postgres');
    is(scalar(grep { $_->{url} =~ /\?$how/ } $receiver->requests), 500, '... until it has them');
    eval { $session->quit };
}

# The standby has stopped while 200 requests are on the wire.
$receiver->hold;
my $alone = Wee5Cron::Audit->new($primary, 'postgres', $receiver);
$alone->commit_calls(1_000);
$alone->wait_for_wire(200);
$standby->stop('immediate');
$primary->poll_query_until('postgres', 'SELECT count(*) = 0 FROM pg_stat_replication') or die "it is still there\n";
calls_unconfirmed('/once/hang', 20);
calls_until_blocked();
$receiver->release_for_good;
ok($primary->poll_query_until('postgres', "SELECT count(*) = 200 FROM wee5_cron.invocation WHERE endpoint_path LIKE '/hang?$alone->{name}-%' AND status = 'succeeded'"),
    'without a standby, the answers to the requests on the wire are recorded');
is(scalar($alone->deliveries), 200, '... and the calls behind them are not sent');
nothing_is_sent('without a standby');
is(scalar(() = $receiver->requests('/once/hang')), 20, "... and no call of the path with retry_on = 'never' is");

# An administrator decides that this server goes on without it.
$primary->set_server('synchronous_standby_names', '');
$alone->nothing_is_lost('without synchronous replication');
is($alone->repeats, 0, '... and no call is sent twice');
is(scalar(() = $receiver->requests('/once/hang')), 40, "... and each call of the path with retry_on = 'never' is sent once");
$primary->set_server('synchronous_standby_names', 'standby');
$standby->start;
standby_is_synchronous();

# Some calls were answered and recorded before, some are on the wire, the rest are queued behind them.
my $audit = Wee5Cron::Audit->new($primary, 'postgres', $receiver);
$audit->commit_calls(500, 'early');
$primary->wait_until_all_finished('postgres');
my $recorded_up_to = $primary->safe_psql('postgres', 'SELECT pg_current_wal_flush_lsn()');
$primary->poll_query_until('postgres', "SELECT flush_lsn >= '$recorded_up_to' FROM pg_stat_replication") or die "the standby does not follow\n";
$receiver->hold;
my $early = $audit->deliveries;
$audit->roll_back_calls(100);
my $session = $primary->background_psql('postgres');
$session->query_safe('BEGIN; ' . $audit->calls(500, 'rolled-back') =~ s/^SELECT (.*) FROM/SELECT count($1) FROM/r);
$audit->commit_calls(5_200);
$audit->wait_for_wire(200, $early);
$primary->safe_psql('postgres', "SELECT count(invoke_cron_endpoint('/once/hang')) FROM generate_series(1, 20)");
# From here on the standby receives nothing. With a few more slots the next calls are claimed, and wait. Then those on the
# wire are answered, and calls take their places until the worker finds that the standby is silent.
$walsender = $primary->safe_psql('postgres', 'SELECT pid FROM pg_stat_replication');
kill 'STOP', $walsender;
$primary->set_server('wee5_cron.max_in_flight', 220);
$primary->poll_query_until('postgres', "SELECT count(*) = 20 FROM wee5_cron.invocation WHERE endpoint_path = '/once/hang' AND status = 'sending'")
  or die "they are not claimed\n";
$receiver->release;
calls_until_blocked();
$receiver->wait_for_all_sent_by($primary, 'postgres');
my $unconfirmed = $audit->deliveries - $early;
$audit->wait_for_wire($unconfirmed, $early);

$primary->kill9;
kill 'KILL', $walsender;
$standby->promote;
eval { $session->quit };
$standby->wait_for_worker('postgres');
$receiver->release_for_good;
$audit->asks($standby);
$audit->nothing_is_lost('the synchronous standby is promoted');
is($audit->repeats, $unconfirmed, '... and the calls whose results it lacks are sent again, because nobody knows how they ended');
cmp_ok($unconfirmed, '<=', 400, '... which are those that were on the wire at the end, and before the standby fell silent');
my %once;
$once{ $_->{headers}{'idempotency-key'} }++ for $receiver->requests('/once/hang');
is(scalar(grep { $_ > 1 } values %once), 0, "... but no call of the path with retry_on = 'never' is sent twice");
is($standby->safe_psql('postgres', "SELECT count(*) FROM wee5_cron.invocation WHERE endpoint_path = '/once/hang' AND status = 'succeeded'"), 60,
    '... and the standby, which did not know that they were claimed, sends them');

# The ids of the new primary are new.
my $after = Wee5Cron::Audit->new($standby, 'postgres', $receiver);
$after->commit_calls(200);
$after->nothing_is_lost('calls on the new primary');
is($after->repeats, 0, '... and each is sent once');
is(scalar(grep { my $id = $_->{id}; grep { $_->{id} == $id } $after->deliveries } $audit->deliveries), 0, '... and each has a new id');

$standby->log_is_sane;
done_testing();
