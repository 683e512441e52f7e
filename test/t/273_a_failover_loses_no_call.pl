# 5,000 calls are queued and 200 are on the wire when the primary is killed and its synchronous standby is promoted. Results
# reach the standby before more are written, so only calls that were on the wire or answered in the last moment are sent
# again. The worker does not wait for a standby that is gone.
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

sub booked {
    my ($path) = @_;
    return $primary->safe_psql('postgres', "SELECT count(*) FROM wee5_cron.invocation WHERE endpoint_path LIKE '$path' AND finished_at IS NOT NULL");
}

# A session may choose not to wait for the standby.
sub calls_unconfirmed {
    my ($path, $count) = @_;
    return $primary->safe_psql('postgres',
        "SET synchronous_commit = local; SELECT count(invoke_cron_endpoint('$path')) FROM generate_series(1, $count)");
}
standby_is_synchronous();

# The standby is connected, but stops receiving. Its primary does not know yet.
$receiver->hold;
my $stalled = Wee5Cron::Audit->new($primary, 'postgres', $receiver);
$stalled->commit_calls(1_000);
$stalled->wait_for_wire(200);
my $walsender = $primary->safe_psql('postgres', 'SELECT pid FROM pg_stat_replication');
kill 'STOP', $walsender;
$receiver->release_for_good;
$primary->poll_query_until('postgres', "SELECT in_flight = 0 AND sent = 1000 FROM wee5_cron.worker WHERE datname = 'postgres'")
  or die "it does not go on\n";
is(scalar($stalled->deliveries), 1_000, 'while a standby receives nothing, all calls are delivered');
calls_unconfirmed('/once/hang', 20);
ok($primary->poll_query_until('postgres', "SELECT count(*) = 20 FROM wee5_cron.invocation WHERE endpoint_path = '/once/hang' AND status = 'sending'"),
    '... and calls that are sent at most once are claimed');
fields_are($primary->one_row('postgres', "SELECT * FROM wee5_cron.worker WHERE datname = 'postgres'"), { in_flight => 20, sent => 1_000 },
    '... and keep their slots while they wait for the standby');
is(scalar(() = $receiver->requests('/once/hang')), 0, '... and no request is sent for them');
cmp_ok(booked('/hang?%'), '<', 1_000, '... and the later answers are not recorded, since the first ones are not on the standby yet');

# The standby receives again.
kill 'CONT', $walsender;
$receiver->wait_for_requests('/once/hang', 20);
$stalled->nothing_is_lost('the standby receives again');
is($stalled->repeats, 0, '... and no call is sent twice');
is(scalar(() = $receiver->requests('/once/hang')), 20, "... and each call of the path with retry_on = 'never' is sent once");

# The standby has stopped.
$standby->stop('immediate');
$primary->poll_query_until('postgres', 'SELECT count(*) = 0 FROM pg_stat_replication') or die "it is still there\n";
calls_unconfirmed('/without/' . $_, 500) for 1 .. 3;
calls_unconfirmed('/once/hang', 20);
$primary->wait_until_all_finished('postgres');
is_deeply($primary->statuses('postgres'), { succeeded => 2_540 }, 'without a standby every call is delivered and recorded');
$standby->start;
standby_is_synchronous();

# Some calls were answered and recorded before, some are on the wire, the rest are queued behind them.
my $audit = Wee5Cron::Audit->new($primary, 'postgres', $receiver);
$audit->commit_calls(500, 'early');
$primary->wait_until_all_finished('postgres');
my $booked_on = $primary->safe_psql('postgres', 'SELECT pg_current_wal_flush_lsn()');
$primary->poll_query_until('postgres', "SELECT flush_lsn >= '$booked_on' FROM pg_stat_replication") or die "the standby does not follow\n";
$receiver->hold;
my $early = $audit->deliveries;
$audit->roll_back_calls(100);
my $session = $primary->background_psql('postgres');
$session->query_safe('BEGIN; ' . $audit->calls(500, 'rolled-back') =~ s/^SELECT (.*) FROM/SELECT count($1) FROM/r);
$audit->commit_calls(5_200);
$audit->wait_for_wire(200, $early);
$primary->safe_psql('postgres', "SELECT count(invoke_cron_endpoint('/once/hang')) FROM generate_series(1, 20)");
# From here on the standby receives nothing. With a few more slots the next calls are claimed, and wait. Then those on the
# wire are answered, and the calls that take their places are on the wire, too.
$walsender = $primary->safe_psql('postgres', 'SELECT pid FROM pg_stat_replication');
kill 'STOP', $walsender;
$primary->set_server('wee5_cron.max_in_flight', 220);
$primary->poll_query_until('postgres', "SELECT count(*) = 20 FROM wee5_cron.invocation WHERE endpoint_path = '/once/hang' AND status = 'sending'")
  or die "they are not claimed\n";
$receiver->release;
$audit->wait_for_wire(400, $early);

$primary->kill9;
kill 'KILL', $walsender;
$standby->promote;
eval { $session->quit };
$standby->wait_for_worker('postgres');
$receiver->release_for_good;
$audit->asks($standby);
$audit->nothing_is_lost('the synchronous standby is promoted');
is($audit->repeats, 400, '... and the 400 calls on the wire are sent again, because nobody knows how they ended');
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
